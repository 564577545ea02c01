"""What a model could not learn from is an error, and what can be repaired without a loss is."""

import json

import cv2
import numpy as np
import pytest
from images import write_image

from casvit.errors import DatasetError
from casvit_mm.commands.data import audited
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.audit.repair_options import RepairOptions
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity

SIZE = (60, 48)


def dataset(root, change=None, *, masks=True, number=6, split=''):
    """A COCO file with one object in each image, whose records ``change`` changes."""
    root.mkdir(exist_ok=True)
    content = dict(images=[], annotations=[], categories=[dict(id=1, name='cat')])
    rng = np.random.default_rng(0)
    for key in range(1, number + 1):
        name = f'{split}{key}.png'
        write_image(root / name, size=SIZE, seed=key)
        content['images'].append(dict(id=key, file_name=name, width=SIZE[0], height=SIZE[1]))
        x, y, w, h = (int(v) for v in rng.integers((20, 15, 8, 8), (30, 25, 25, 20)))
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        record = dict(id=key, image_id=key, category_id=1, bbox=[x, y, w, h], area=w * h, iscrowd=0)
        content['annotations'].append(record | (dict(segmentation=[polygon]) if masks else {}))
    if change:
        change(content)
    (root / f'instances_{split or "all"}.json').write_text(json.dumps(content))
    return root


def each(**fields):
    """Changes every annotation; a function is given the record."""

    def change(content):
        for record in content['annotations']:
            for key, value in fields.items():
                record[key] = value(record) if callable(value) else value

    return change


def check(root, task='instance'):
    return audited(read_dataset(root, task), task)


def errors(audit):
    return {issue.kind for issue in audit.issues.of(Severity.ERROR)}


def as_corners(record):
    x, y, w, h = record['bbox']
    return [x, y, x + w, y + h]


def normalised(record):
    return [
        round(value / side, 4) for value, side in zip(record['bbox'], (*SIZE, *SIZE), strict=True)
    ]


@pytest.mark.parametrize(
    ('change', 'kind', 'words'),
    [
        (each(iscrowd=1), 'nothing-to-learn', 'crowd flag'),
        (each(ignore=1), 'nothing-to-learn', 'crowd flag'),
        (each(bbox=as_corners), 'box-mask-mismatch', 'looks like corners'),
        (each(segmentation=lambda r: r['segmentation'][0]), 'flat-polygon', 'expected is [['),
        (lambda c: c.update(annotations=[]), 'nothing-to-learn', 'has no annotations'),
    ],
)
def test_what_a_model_could_not_learn_is_an_error(tmp_path, change, kind, words):
    audit = check(dataset(tmp_path / 'data', change))
    assert errors(audit) == {kind}
    assert words in str(audit.issues.first(kind, 1)[0])


@pytest.mark.parametrize(
    ('change', 'words'), [(normalised, 'look normalised'), (as_corners, 'look like corners')]
)
def test_boxes_in_another_unit_are_an_error_without_masks_too(tmp_path, change, words):
    audit = check(dataset(tmp_path / 'data', each(bbox=change), masks=False), 'detection')
    (issue,) = (i for i in audit.issues.issues if i.kind == 'normalised-box')
    assert words in issue.detail


def test_small_boxes_and_boxes_at_the_edge_are_no_errors(tmp_path):
    small = each(bbox=[0, 0, 1, 1], segmentation=[])
    assert errors(check(dataset(tmp_path / 'small', small), 'detection')) == set()
    wide = each(bbox=[0.0, 0.0, 60.4, 48.2], segmentation=[])
    assert errors(check(dataset(tmp_path / 'wide', wide), 'detection')) == set()


def test_detection_does_not_need_masks_that_can_be_decoded(tmp_path):
    broken = each(segmentation=dict(size=[48, 60], counts=[1, 2]))
    root = dataset(tmp_path / 'data', broken)
    assert errors(check(root, 'detection')) == set()
    assert errors(check(root, 'instance')) == errors(check(root, None)) == {'broken-mask'}


def twice(content):
    for record in list(content['annotations']):
        content['annotations'].append({**record, 'id': record['id'] + 100})


def test_exact_duplicates_are_a_warning_and_the_repair_keeps_one(tmp_path):
    audit = check(dataset(tmp_path / 'data', twice))
    assert audit.issues.counts() == {'duplicate-object': 6}
    repair_objects(audit, tmp_path / 'fixed')
    fixed = check(tmp_path / 'fixed')
    assert not fixed.issues.issues and fixed.facts['train'].objects == dict(cat=6)


def test_equal_boxes_with_other_masks_are_no_duplicates(tmp_path):
    def shifted(content):
        twice(content)
        for record in content['annotations'][6:]:
            x, y, w, h = record['bbox']
            record['segmentation'] = [[x, y, x + w, y, x, y + h]]

    assert not check(dataset(tmp_path / 'data', shifted)).issues.issues


def test_class_names_that_differ_by_case_are_a_warning(tmp_path):
    def name(content):
        content['categories'].append(dict(id=2, name='Cat'))
        content['annotations'][0]['category_id'] = 2

    assert check(dataset(tmp_path / 'data', name)).issues.counts() == {'similar-names': 1}


LOSSLESS = {
    'flat': (each(segmentation=lambda r: r['segmentation'][0]), RepairOptions()),
    'crowd': (each(iscrowd=1), RepairOptions(crowd_as_objects=True)),
    'corners': (each(bbox=as_corners), RepairOptions(boxes_from_masks=True)),
    'no size': (lambda c: [i.pop('width') for i in c['images']], RepairOptions()),
    'no box': (each(bbox=[0, 0, 0, 0]), RepairOptions()),
    'case': (lambda c: [i.update(file_name=i['file_name'].upper()) for i in c['images']], None),
}


@pytest.mark.parametrize('name', LOSSLESS)
def test_a_lossless_repair_keeps_every_object_as_it_was(tmp_path, name):
    change, options = LOSSLESS[name]
    right = json.loads((dataset(tmp_path / 'right') / 'instances_all.json').read_text())
    repair_objects(check(dataset(tmp_path / 'data', change)), tmp_path / 'fixed', options)
    assert not check(tmp_path / 'fixed').issues.issues
    fixed = json.loads((tmp_path / 'fixed/annotations/instances_train.json').read_text())
    for old, new in zip(right['annotations'], fixed['annotations'], strict=True):
        assert old['bbox'] == new['bbox'] and old['segmentation'] == new['segmentation']
        assert new['iscrowd'] == 0 and new['area'] == old['area']
    changes = (tmp_path / 'fixed/changes.txt').read_text().splitlines()
    assert changes and len(changes) == len(set(changes))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (each(segmentation=[]), '6 of 6 objects.*without a mask.*use --task detection'),
        (each(image_id=99), '6 of 6 objects.*images that are not listed'),
        (lambda c: [i.update(file_name='x' + i['file_name']) for i in c['images'][:3]], '3 of 6'),
    ],
)
def test_a_repair_that_would_lose_much_writes_nothing_and_says_what(tmp_path, change, words):
    audit = check(dataset(tmp_path / 'data', change))
    with pytest.raises(DatasetError, match=words) as refused:
        repair_objects(audit, tmp_path / 'fixed')
    assert '--allow-loss' in str(refused.value) and not (tmp_path / 'fixed').exists()


def test_the_loss_that_is_named_can_be_allowed(tmp_path):
    def lose(content):
        content['annotations'][0]['bbox'] = [float('nan'), 1, 2, 3]
        content['annotations'][0]['segmentation'] = []

    audit = check(dataset(tmp_path / 'data', lose), 'detection')
    with pytest.raises(DatasetError, match=r'1 of 6 objects.*--allow-loss 0\.17'):
        repair_objects(audit, tmp_path / 'fixed')
    repair_objects(audit, tmp_path / 'fixed', RepairOptions(allow_loss=0.17))
    assert check(tmp_path / 'fixed').facts['train'].objects == dict(cat=5)


def test_boxes_that_disagree_with_their_masks_are_not_certified(tmp_path):
    audit = check(dataset(tmp_path / 'data', each(bbox=as_corners)))
    repair_objects(audit, tmp_path / 'fixed')
    assert errors(check(tmp_path / 'fixed')) == {'box-mask-mismatch'}


def test_an_image_whose_label_file_cannot_be_read_is_no_background_image(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    (root / 'classes.txt').write_text('cat\n')
    for key in range(4):
        write_image(root / f'{key}.png', seed=key)
        (root / f'{key}.txt').write_text('0 0.5 0.5 0.4 0.4\n')
    (root / '2.txt').write_bytes(b'\x81\x8d\x00\xff')
    audit = check(root, 'detection')
    assert errors(audit) == {'unreadable-annotation'}
    repair_objects(audit, tmp_path / 'fixed', RepairOptions(allow_loss=0.5))
    fixed = check(tmp_path / 'fixed', 'detection')
    assert (fixed.facts['train'].images, fixed.facts['train'].empty) == (3, 0)


def test_images_that_are_in_two_splits_are_not_dropped_from_the_only_place(tmp_path):
    root = dataset(tmp_path / 'data', split='train')
    content = json.loads((root / 'instances_train.json').read_text())
    (root / 'instances_val.json').write_text(json.dumps(content))
    audit = check(root)
    assert set(audit.issues.counts()) == {'same-picture'}
    with pytest.raises(DatasetError, match='no image in the split train'):
        repair_objects(audit, tmp_path / 'fixed')


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('bits', [10, 12, 14])
def test_images_of_fewer_bits_than_their_files_load_dark_and_can_be_scaled(tmp_path, bits, suffix):
    root = dataset(tmp_path / 'data')
    rng = np.random.default_rng(0)
    content = json.loads((root / 'instances_all.json').read_text())
    for image in content['images']:
        (root / image['file_name']).unlink()
        image['file_name'] = image['file_name'].replace('.png', suffix)
        pixels = rng.integers(0, 2**bits, (SIZE[1], SIZE[0], 3)).astype(np.uint16)
        cv2.imwrite(str(root / image['file_name']), pixels)
    (root / 'instances_all.json').write_text(json.dumps(content))
    audit = check(root)
    (issue,) = audit.issues.issues
    assert issue.kind == 'dark-picture' and f'--bits {bits}' in issue.detail
    with pytest.raises(DatasetError, match='use a larger --bits'):
        repair_objects(audit, tmp_path / 'small', RepairOptions(bits=bits - 1))
    repair_objects(audit, tmp_path / 'fixed', RepairOptions(bits=bits))
    assert not check(tmp_path / 'fixed').issues.issues
    name = content['images'][0]['file_name']
    old, new = (
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for path in (root / name, tmp_path / 'fixed/train' / name)
    )
    assert (old.astype(int) * 2 ** (16 - bits) == new).all()
