"""Masks of 0 and 255: the audit, its repair and the check before a run agree on them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from faulty import paint_as_masks
from mmengine.config import Config
from PIL import Image

pytest.importorskip('mmseg')

from mmseg.datasets.transforms import LoadAnnotations

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.datasets.preflight.semantic import check_semantic_data
from casvit_mm.datasets.semantic_masks import binary_foreground
from casvit_mm.datasets.shapes.objects import generate
from casvit_mm.report.audit.sheet import mask_sheet


@pytest.fixture(scope='module')
def generated(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp('generated') / 'shapes'
    generate(made, num_train=6, num_val=3, size=64, progress=False)
    root = made.with_name('masks')
    for split in ('train', 'val'):
        shutil.copytree(made / split, root / 'images' / split)
        shutil.copytree(made / 'labels' / split, root / 'annotations' / split)
    return root


@pytest.fixture
def root(generated, tmp_path) -> Path:
    """A copy that tests may damage."""
    return shutil.copytree(generated, tmp_path / 'data')


def checked(root, **options):
    return audit_masks(read_dataset(root, 'semantic'), progress=False, **options)


def errors(audit):
    return [issue.kind for issue in audit.issues.of(Severity.ERROR)]


def run_config(root, classes, ignore_index=255) -> Config:
    def loader(split):
        return dict(
            dataset=dict(
                type='BaseSegDataset',
                data_root=str(root),
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
                metainfo=dict(classes=classes),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
            )
        )

    return Config(
        dict(
            default_scope='mmseg',
            model=dict(decode_head=dict(num_classes=len(classes), ignore_index=ignore_index)),
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
        )
    )


def run_refuses(root, classes, **options) -> str:
    try:
        check_semantic_data(run_config(root, classes, **options))
    except DatasetError as error:
        return str(error)
    return ''


@pytest.mark.parametrize('names', [(), ('crack',), ('ground', 'crack'), ('a', 'b', 'c')])
@pytest.mark.parametrize('value', [255, 254, 128, 38])
def test_the_audit_the_repair_and_a_run_agree_that_a_high_value_is_class_1(
    root, tmp_path, names, value
):
    paint_as_masks(root, 0, value)
    if names:
        (root / 'classes.txt').write_text('\n'.join(names))
    audit = checked(root)
    assert errors(audit) == ['binary-mask']
    (issue,) = audit.issues.of(Severity.ERROR)
    assert f'only 0 and {value}' in issue.detail and 'two classes' in issue.detail
    assert issue.file.endswith('.png')
    assert mask_sheet(audit, 4, 0)
    message = run_refuses(root, names or ('all',))
    assert f'only 0 and {value}' in message and '--fix' in message

    changes = repair_masks(audit, tmp_path / 'fixed')
    assert any(f'with 1 instead of {value}' in change for change in changes)
    again = checked(tmp_path / 'fixed')
    assert errors(again) == []
    assert again.classes == [
        *({(): ['background', 'foreground'], ('crack',): ['background']}.get(names, [])),
        *names,
    ]
    for path in (root / 'annotations').rglob('*.png'):
        fixed = Image.open(tmp_path / 'fixed' / path.relative_to(root))
        assert np.array_equal(np.array(Image.open(path)) == value, np.array(fixed))
    assert not run_refuses(tmp_path / 'fixed', again.classes)


@pytest.mark.parametrize('values', [(0, 1), (0, 1, 255), (0, 1, 2), (0, 1, 2, 255)])
def test_masks_of_classes_with_an_ignored_border_are_valid(root, values):
    paint_as_masks(root, *values)
    audit = checked(root)
    assert errors(audit) == []
    assert not run_refuses(root, audit.classes)


def test_a_high_value_with_a_class_name_is_a_class(root):
    paint_as_masks(root, 0, 128)
    names = [f'class {index}' for index in range(150)]
    (root / 'classes.txt').write_text('\n'.join(names))
    assert errors(checked(root)) == []
    assert not run_refuses(root, names)


def test_every_mask_is_searched_for_a_rare_class_1_besides_ignored_borders(root, monkeypatch):
    monkeypatch.setattr('casvit_mm.datasets.preflight.semantic.MASKS_READ', 1)
    paint_as_masks(root, 0, 255)
    assert run_refuses(root, ('ground', 'crack'))
    for split in ('train', 'val'):
        path = sorted((root / 'annotations' / split).iterdir())[1]
        labels = np.array(Image.open(path))
        labels[0, 0] = 1
        Image.fromarray(labels).save(path)
    assert errors(checked(root)) == []
    assert not run_refuses(root, ('ground', 'crack'))


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.bmp'])
def test_one_bit_masks_hold_0_and_1_as_mmseg_reads_them(root, suffix):
    for path in (root / 'annotations').rglob('*.png'):
        mask = Image.fromarray(np.array(Image.open(path)) > 0)
        assert mask.mode == '1'
        mask.save(path.with_suffix(suffix))
        if suffix != '.png':
            path.unlink()
        results = dict(
            seg_map_path=str(path.with_suffix(suffix)), reduce_zero_label=False, seg_fields=[]
        )
        loaded = LoadAnnotations().transform(results)['gt_seg_map']
        assert np.array_equal(loaded, np.array(mask)) and loaded.dtype == np.uint8
    audit = checked(root)
    assert errors(audit) == [] and audit.classes == ['class_0', 'class_1']
    assert audit.facts['train'].pixels['class_1'] > 0
    cfg = run_config(root, audit.classes)
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].dataset.seg_map_suffix = suffix
    assert len(check_semantic_data(cfg)) == 2


def test_another_ignore_index_is_respected_in_the_audit_and_in_a_run(root):
    paint_as_masks(root, 0, 1, 11)
    names = ('ground', 'crack')
    (root / 'classes.txt').write_text('\n'.join(names))
    assert errors(checked(root, ignore_index=11)) == []
    assert not run_refuses(root, names, ignore_index=11)
    paint_as_masks(root, 0, 11, 11)
    assert errors(checked(root, ignore_index=11)) == ['binary-mask']
    assert 'only 0 and 11' in run_refuses(root, names, ignore_index=11)


def test_more_than_255_class_names_and_16_bit_masks_are_supported(root):
    (root / 'classes.txt').write_text('\n'.join(f'class {index}' for index in range(300)))
    path = root / 'annotations/train/000000.png'
    Image.fromarray(np.array(Image.open(path)).astype(np.uint16) * 99).save(path)
    (issue,) = checked(root).issues.of(Severity.ERROR)
    assert issue.kind == 'label-value' and issue.file == str(path)


@pytest.mark.parametrize(
    ('values', 'classes', 'ignored', 'expected'),
    [
        ({0, 255}, 0, 255, 255),
        ({0, 255}, 300, 255, 255),
        ({0, 128}, 0, 255, 128),
        ({0, 128}, 129, 255, None),
        ({0, 2}, 2, 255, 2),
        ({0, 1}, 0, 255, None),
        ({0}, 0, 255, None),
        ({255}, 0, 255, None),
        ({1, 255}, 0, 255, None),
        ({0, 1, 255}, 0, 255, None),
        (set(), 0, 255, None),
    ],
)
def test_the_foreground_value_is_detected(values, classes, ignored, expected):
    assert binary_foreground(values, classes, ignored) == expected
