"""What the data check says about a dataset is what a run does with it.

No error: the data that `finetune` hands to a run train, validate and test with the run's own check
off. An error that stops: the raw data make the run fail. One that harms: it runs, and what it
learned from is not what the dataset holds.
"""

import json
import os
import shutil
from pathlib import Path

import awkward
import faulty
import numpy as np
import pytest
from checked_runs import built, check, labels_of, objects_of, run, written_config
from mmengine.config import Config

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.images import inspect_image
from casvit_mm.datasets.issues import KINDS, Effect, Severity
from casvit_mm.datasets.object_masks.coding import mask_bounds
from casvit_mm.datasets.shapes import objects as shapes

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')


@pytest.fixture(scope='module')
def clean(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('clean') / 'shapes'
    shapes.generate(root, num_train=8, num_val=4, size=96, progress=False)
    return root


def objects(clean, root):
    """The annotations and images of the clean dataset, to be damaged."""
    for name in ('annotations', 'train', 'val'):
        shutil.copytree(clean / name, root / name)
    return root


def semantic(clean, root):
    """Its images with semantic masks, of which few classes are ignored."""
    for split in ('train', 'val'):
        shutil.copytree(clean / split, root / 'images' / split)
        shutil.copytree(clean / 'labels' / split, root / 'annotations' / split)
    (root / 'classes.txt').write_text('\n'.join(('background', *shapes.CLASSES)))
    return root


def damaged_record(damage):
    def make(clean, root, rng):
        file = objects(clean, root) / 'annotations/instances_train.json'
        content = json.loads(file.read_text())
        damage(content, rng)
        file.write_text(json.dumps(content))
        return 'instance'

    return make


def damaged_file(damage, layout, folder):
    def make(clean, root, rng):
        path = sorted((layout(clean, root) / folder).iterdir())[rng.integers(8)]
        damage(path, rng)
        return 'instance' if layout is objects else 'semantic'

    return make


def damaged_dataset(damage, layout):
    def make(clean, root, rng):
        damage(layout(clean, root))
        return 'instance' if layout is objects else 'semantic'

    return make


def awkward_copy(name):
    def make(clean, root, rng):
        shutil.copytree(Path(os.environ['CASVIT_TEST_DATA']) / 'awkward' / name, root)
        return awkward.TASKS[name]

    return make


CASES = {d.__name__: damaged_record(d) for d in faulty.RECORDS}
CASES |= {f'image {d.__name__}': damaged_file(d, objects, 'train') for d in faulty.IMAGES}
CASES |= {
    f'mask {d.__name__}': damaged_file(d, semantic, 'annotations/train')
    for d in faulty.SEMANTIC_MASKS
}
CASES |= {f'all {d.__name__}': damaged_dataset(d, objects) for d in faulty.OBJECTS}
CASES |= {f'all {d.__name__}': damaged_dataset(d, semantic) for d in faulty.MASKS}
CASES |= {f'awkward {name}': awkward_copy(name) for name in awkward.TASKS}
FAST = {
    *('is_no_object', 'has_an_empty_box', 'has_a_broken_mask', 'states_another_size'),
    *('image remove', 'image truncate', 'mask set_a_value_outside', 'mask ignore_most'),
    *('awkward noarea', 'awkward winpath', 'awkward allcrowd', 'awkward m_255'),
}
NEEDED = pytest.mark.skipif(
    'CASVIT_TEST_DATA' not in os.environ, reason='CASVIT_TEST_DATA names no folder'
)


def parameters():
    for name in CASES:
        marks = [] if name in FAST else [pytest.mark.long]
        yield pytest.param(name, marks=[*marks, NEEDED] if name.startswith('awkward') else marks)


@pytest.mark.parametrize('name', parameters())
def test_a_run_does_what_the_check_says(name, clean, tmp_path):
    root = tmp_path / 'data'
    task = CASES[name](clean, root, np.random.default_rng(3))
    audit = check(root, task)
    errors = audit.issues.of(Severity.ERROR)
    stops = any(issue.effect is Effect.STOPS for issue in errors)
    try:
        config = written_config(audit, task, tmp_path)
    except DatasetError:
        # There is not even a list of images and masks to hand to a run.
        assert stops
        return
    code = run(config)
    said = config.with_suffix('.log').read_text(errors='replace')[-2000:]
    if not errors:
        assert code == 0, said
        return
    if stops:
        assert code != 0, [str(issue) for issue in errors[:3]]
        return
    assert code == 0, said
    for kind in {issue.kind for issue in errors}:
        assert HARMS[kind](audit, config), kind


def fewer_objects(audit, config):
    """A run learns from fewer objects than the annotations describe."""
    listed = [
        record
        for scan in audit.dataset.splits.values()
        for record in scan.content.get('annotations') or []
        if not (isinstance(record, dict) and record.get('iscrowd'))
    ]
    unread = [issue for issue in audit.dataset.issues.issues if KINDS[issue.kind].effect]
    seen = sum(len(objects_of(config, split)) for split in ('train', 'val'))
    return seen < len(listed) + len(unread)


def no_objects(audit, config):
    return any(not objects_of(config, split) for split in ('train', 'val'))


def boxes_that_are_not_numbers(audit, config):
    finite = all(np.isfinite(each['bbox']).all() for each in objects_of(config, 'train'))
    # Infinite ones may be dropped.
    return not finite or fewer_objects(audit, config)


def boxes_elsewhere(audit, config):
    """The boxes of some objects are not around their masks."""
    for each in objects_of(config, 'train'):
        x1, y1, x2, y2 = each['bbox']
        left, top, right, bottom = mask_bounds(each['mask'])
        sides = min(x2, right) - max(x1, left), min(y2, bottom) - max(y1, top)
        if min(sides) <= 0 or sides[0] * sides[1] < 0.6 * max(
            (x2 - x1) * (y2 - y1), (right - left) * (bottom - top)
        ):
            return True
    return False


def boxes_on_grey(audit, config):
    """Part of an image is a single grey."""
    import cv2

    for issue in audit.issues.issues:
        if issue.kind == 'truncated-picture':
            pixels = cv2.imread(issue.file)
            return pixels is None or np.ptp(pixels[-8:].reshape(-1, 3), axis=0).max() <= 2
    return False


def boxes_below_a_pixel(audit, config):
    found = objects_of(config, 'train')
    return all(max(np.subtract(each['bbox'][2:], each['bbox'][:2])) <= 1 for each in found)


def nearly_black(audit, config):
    from mmcv.transforms import LoadImageFromFile

    dataset = built(config, 'train')
    infos = map(dataset.get_data_info, range(len(dataset)))
    return max(LoadImageFromFile()(dict(info))['img'].max() for info in infos) < 32


def a_name_that_is_replaced(audit, config):
    """A config of one's own with the names of the dataset is read with others."""
    names = [c['name'] for c in audit.dataset.splits['train'].content['categories']]
    own = config.with_name('own.py')
    own.write_text(f'classes = {names!r}\n', encoding='utf-8')
    return Config.fromfile(own).classes != names


def another_size(audit, config):
    dataset = built(config, 'train')
    infos = map(dataset.get_data_info, range(len(dataset)))
    return any(inspect_image(i['img_path']).upright != (i['width'], i['height']) for i in infos)


def classes_mixed_up(audit, config):
    """The number of a class is not that of its name in the config."""
    for split in ('train', 'val'):
        dataset = built(config, split)
        names = {c['id']: c['name'] for c in audit.dataset.splits[split].content['categories']}
        labels = {names[key]: label for key, label in dataset.cat2label.items()}
        if [labels.get(name) for name in dataset.metainfo['classes']] != list(range(len(labels))):
            return True
        if len(dataset.cat2label) != len(dataset.metainfo['classes']):
            return True
    return False


def pixels_ignored(audit, config):
    """No pixel of the foreground is learned."""
    return all(set(np.unique(mask)) <= {0, 255} for mask in labels_of(config, 'train'))


def masks_elsewhere(audit, config):
    """The classes of a pixel are those of another place."""
    from mmcv.transforms import LoadImageFromFile

    dataset = built(config, 'train')
    for number, mask in enumerate(labels_of(config, 'train')):
        image = LoadImageFromFile()(dict(dataset.get_data_info(number)))['img']
        if image.shape[:2] != mask.shape:
            return True
    return False


def classes_from_noise(audit, config):
    values = {value for mask in labels_of(config, 'train') for value in np.unique(mask).tolist()}
    return len(values) > 3


def fewer_pairs(audit, config):
    listed = sum(map(len, audit.dataset.splits.values()))
    return sum(len(built(config, split)) for split in ('train', 'val')) < listed


HARMS = {
    **dict.fromkeys(
        ('unknown-image', 'unknown-category', 'empty-box', 'outside-box', 'double-id'),
        fewer_objects,
    ),
    **dict.fromkeys(('unreadable-annotation', 'unused-annotation-file'), fewer_objects),
    'missing-split': lambda audit, config: len(audit.dataset.splits) == 1,
    'nothing-to-learn': no_objects,
    'nan-box': boxes_that_are_not_numbers,
    'box-mask-mismatch': boxes_elsewhere,
    'normalised-box': boxes_below_a_pixel,
    'unsafe-name': a_name_that_is_replaced,
    'dark-picture': nearly_black,
    'truncated-picture': boxes_on_grey,
    'picture-size': another_size,
    'class-order': classes_mixed_up,
    'double-name': classes_mixed_up,
    'binary-mask': pixels_ignored,
    'lossy-mask': classes_from_noise,
    'label-map-size': masks_elsewhere,
    'unpaired-label-map': fewer_pairs,
}
