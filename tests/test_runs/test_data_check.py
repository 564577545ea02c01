"""The check of the data before a run can be left out, except for what would crash the process."""

import json

import pytest
from quick_runs import DEMO, QUICK, run_tool

from casvit_mm.datasets.shapes import objects as shapes

pytest.importorskip('mmdet')
FEW = [
    *QUICK,
    'default_hooks.visualization.draw=False',
    'custom_hooks.1.max_share=0.2',
    'model.test_cfg.rcnn.score_thr=0.3',
]


def change(root, split, edit):
    path = root / f'annotations/instances_{split}.json'
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def rename_a_class(content):
    content['categories'][0]['name'] = 'hexagon'


def break_a_mask(content):
    mask = dict(size=[96, 96], counts="b'00'")
    content['annotations'][0]['segmentation'] = mask


def test_a_run_without_the_check_trains_and_tests_on_what_the_check_refuses(tmp_path, capfd):
    root, work_dir = tmp_path / 'shapes', tmp_path / 'run'
    shapes.generate(root, num_train=8, num_val=2, size=96, progress=False)
    (root / 'train/000003.jpg').unlink()
    change(root, 'val', rename_a_class)
    where = ['--data-root', root, '--work-dir', work_dir]
    train = [DEMO, *where, *FEW]
    assert run_tool('train', train) == 2
    assert '1 of the 8 images' in capfd.readouterr().err
    assert run_tool('train', [*train, '--no-data-check']) == 0
    (log,) = work_dir.glob('*/*.log')
    assert 'Skipped' in log.read_text()
    test = [DEMO, work_dir / 'epoch_1.pth', *where]
    assert run_tool('test', [*test, *FEW]) == 2
    assert "no category 'circle'" in capfd.readouterr().err
    assert run_tool('test', [*test, '--no-data-check', *FEW]) == 0
    change(root, 'val', break_a_mask)
    assert run_tool('test', [*test, '--no-data-check', *FEW]) == 2
    assert 'A mask cannot be decoded' in capfd.readouterr().err
    assert run_tool('test', [*test, '--format-only', tmp_path / 'out', *FEW]) == 2
    assert 'A mask cannot be decoded' in capfd.readouterr().err
    change(root, 'train', break_a_mask)
    assert run_tool('train', [*train, '--no-data-check', '--overwrite']) == 2
    assert 'A mask cannot be decoded' in capfd.readouterr().err
