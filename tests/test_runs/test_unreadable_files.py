"""Training continues if a few files cannot be read, and stops if many cannot."""

from pathlib import Path

import numpy as np
import pytest
from faulty import empty, overwrite_with_text
from quick_runs import DEMO, SEGMENTATION_DEMO, run_tool

from casvit_mm.datasets import UnreadableFilesHook
from casvit_mm.datasets.shapes import objects as shapes

pytest.importorskip('mmdet')
RNG = np.random.default_rng(0)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'shapes'
    shapes.generate(folder, num_train=12, num_val=4, size=96, progress=False)
    return folder


def train(name, root, tmp_path, *options):
    where = ['--data-root', root, '--work-dir', tmp_path / 'run']
    return run_tool('train', [name, *where, '--cfg-options', *options])


def hook(index, share):
    return f'custom_hooks.{index}.max_share={share}'


DETECTION = (
    'train_cfg.max_epochs=2',
    'train_cfg.val_interval=2',
    'train_cfg.val_begin=9',
    'default_hooks.visualization.draw=False',
    'model.test_cfg.rcnn.score_thr=0.0',
)
IN_PROCESSES = ('train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True')
SEGMENTATION = (
    'train_cfg.max_iters=6',
    'train_cfg.val_interval=6',
    'train_dataloader.batch_size=4',
)


def test_a_few_unreadable_images_are_skipped_and_named_once(root, tmp_path):
    broken = [root / 'train/000003.jpg', root / 'train/000007.jpg']
    empty(broken[0], RNG)
    overwrite_with_text(broken[1], RNG)
    assert train(DEMO, root, tmp_path, *DETECTION, *IN_PROCESSES, hook(1, 0.2)) == 0
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    for path in broken:
        assert text.count(f'Skipped {path}, which cannot be read') == 1
    assert '2 files could not be read and were skipped' in text


def test_too_many_unreadable_images_stop_the_run_with_a_list(root, tmp_path, capfd):
    broken = [root / f'train/{index:06d}.jpg' for index in range(12)]
    for path in broken:
        empty(path, RNG)
    assert train(DEMO, root, tmp_path, *DETECTION, *IN_PROCESSES, hook(1, 0.25)) == 2
    error = capfd.readouterr().err
    last = error[error.rindex('casvit train: error:') :]
    assert 'of the training data cannot be read, more than the 3 that may be skipped' in last
    assert 'max_share of UnreadableFilesHook' in last
    assert sum(str(path) in last for path in broken) >= 4
    assert 'Traceback' not in last.split('The traceback is in')[0]


def test_the_files_of_all_processes_count_together(root, tmp_path, capfd):
    # Without shuffling, each of the two processes meets one of them.
    for index in (0, 6):
        empty(root / f'train/{index:06d}.jpg', RNG)
    options = ('train_dataloader.batch_size=6', 'train_dataloader.sampler.shuffle=False')
    assert train(DEMO, root, tmp_path, *DETECTION, *IN_PROCESSES, *options, hook(1, 0.1)) == 2
    assert 'cannot be read, more than the 1 that may be skipped' in capfd.readouterr().err


def test_no_image_of_a_small_dataset_may_be_skipped_by_default(root, tmp_path, capfd):
    empty(root / 'train/000000.jpg', RNG)
    options = ('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False')
    assert train(DEMO, root, tmp_path, *DETECTION, *options) == 2
    assert 'and none may be skipped' in capfd.readouterr().err


def test_evaluation_never_skips(root, tmp_path, capfd):
    broken = root / 'val/000001.jpg'
    empty(broken, RNG)
    options = ('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False')
    options += ('val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False')
    assert train(DEMO, root, tmp_path, *DETECTION[:2], *options, hook(1, 0.5)) == 2
    assert str(broken) in capfd.readouterr().err


def test_a_share_is_between_0_and_1():
    with pytest.raises(ValueError, match='between 0 and 1'):
        UnreadableFilesHook(max_share=3)


def test_a_pipeline_that_is_switched_later_skips_too(root, tmp_path):
    broken = root / 'train/000003.jpg'
    empty(broken, RNG)
    config = tmp_path / 'switching.py'
    config.write_text(
        f"_base_ = '{REPOSITORY}/configs/detection/{DEMO}.py'\n"
        'switch = dict(type="PipelineSwitchHook", switch_epoch=0)\n'
        'switch["switch_pipeline"] = _base_.train_pipeline\n'
        'custom_hooks = [*_base_.custom_hooks, switch]\n'
    )
    assert train(config, root, tmp_path, *DETECTION, *IN_PROCESSES, hook(1, 0.2)) == 0
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert f'Skipped {broken}, which cannot be read' in log.read_text()


@pytest.mark.parametrize('processes', [0, 2])
def test_a_semantic_mask_that_breaks_during_a_run_is_skipped(
    root, tmp_path, monkeypatch, processes
):
    """The check before a run would find it; this file is damaged later."""
    pytest.importorskip('mmseg')
    from casvit_mm.commands import train as command

    path = root / 'labels/train/000002.png'

    def check_and_break(*_, **options):
        empty(path, RNG)
        return []

    monkeypatch.setattr(command, 'check_data', check_and_break)
    loading = f'train_dataloader.num_workers={processes}'
    assert train(SEGMENTATION_DEMO, root, tmp_path, *SEGMENTATION, loading, hook(1, 0.2)) == 0
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert log.read_text().count(f'Skipped {path}, which cannot be read') == 1
