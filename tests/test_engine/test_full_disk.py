"""Runs on a disk that is full, read-only or gone: they go on, and lose no checkpoint."""

import json
import logging
import resource
import shutil

import pytest
import torch
from full_disks import fill, make_read_only, small_disk
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from toy_runs import STEPS, toy_run

from casvit.errors import CheckpointError
from casvit_mm.commands.runs import require_saved
from casvit_mm.engine.disk.outage import keep_logging, size_of
from casvit_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from casvit_mm.models import read_checkpoint


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / 'disk') as folder:
        yield folder


class At(Hook):
    """Does something at the start of epochs, counted from 1."""

    def __init__(self, actions):
        self.actions = actions

    def before_train_epoch(self, runner):
        if action := self.actions.get(runner.epoch + 1):
            action()


def run(work_dir, actions, *, epochs=3, padding=10_000, **hook):
    """A run whose checkpoints are as large as its padding, and the warnings of it."""
    checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best=None, **hook)
    runner = toy_run(work_dir, epochs=epochs, default_hooks=dict(checkpoint=checkpoint))
    runner.model.register_buffer('padding', torch.ones(padding))
    runner.register_hook(At(actions))
    warnings = []
    runner.logger.warning = warnings.append
    return runner, warnings


def names(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))


def test_a_run_on_a_full_disk_warns_keeps_its_checkpoint_and_tries_again(disk):
    filler = disk / 'filler'
    runner, warnings = run(disk, {2: lambda: fill(disk, but=8192), 3: filler.unlink})
    runner.train()
    said = next(text for text in warnings if 'epoch_2.pth' in text)
    assert 'No space left on device (about 39 KiB needed, 8.0 KiB left)' in said
    assert str(disk) in said and 'tries again' in said
    # recent.pth, before the validation, was another attempt.
    assert names(disk) == ['epoch_3.pth']
    assert read_checkpoint(disk / 'epoch_3.pth')['meta']['epoch'] == 3
    assert (disk / 'last_checkpoint').read_text() == 'epoch_3.pth'
    assert not list(disk.glob('.*'))
    require_saved(runner)


def test_a_run_whose_last_checkpoint_is_lost_says_so_and_keeps_the_one_before(disk):
    runner, _ = run(disk, {3: lambda: fill(disk)})
    runner.train()
    assert names(disk) == ['epoch_2.pth']
    assert read_checkpoint(disk / 'epoch_2.pth')['meta']['epoch'] == 2
    with pytest.raises(CheckpointError, match=r'last checkpoint is lost.*No space.*epoch_2\.pth'):
        require_saved(runner)


def test_a_run_can_be_told_to_stop_on_a_full_disk(disk):
    runner, _ = run(disk, {2: lambda: fill(disk)}, on_error='stop')
    with pytest.raises(CheckpointError, match=r'epoch_2\.pth cannot be written.*on_error'):
        runner.train()
    assert names(disk) == ['epoch_1.pth']
    read_checkpoint(disk / 'epoch_1.pth')


def test_a_best_checkpoint_that_cannot_be_written_leaves_the_one_before(disk):
    runner, warnings = run(disk, {2: lambda: fill(disk)})
    hook_of(runner).__init__(interval=1, max_keep_ckpts=1, save_best='mAP')
    runner.train()
    assert names(disk) == ['best_mAP_epoch_1.pth', 'epoch_1.pth']
    assert any('best checkpoint cannot be written' in text for text in warnings)
    assert runner.message_hub.get_info('best_ckpt').endswith('best_mAP_epoch_1.pth')
    for name in names(disk):
        read_checkpoint(disk / name)


def test_a_read_only_folder_stops_no_run(disk):
    actions = {2: lambda: make_read_only(disk, True), 3: lambda: make_read_only(disk, False)}
    runner, warnings = run(disk, actions)
    # An open file for writing keeps a disk from becoming read-only.
    for handler in list(runner.logger.handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()
            runner.logger.handlers.remove(handler)
    runner.train()
    assert any('Read-only file system' in text for text in warnings)
    assert names(disk) == ['epoch_3.pth']


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    folder = tmp_path / 'run'
    runner, _ = run(folder, {2: lambda: shutil.rmtree(folder)})
    runner.train()
    assert names(folder) == ['epoch_3.pth']


def test_a_folder_in_whose_place_a_file_is_stops_no_run(tmp_path):
    folder = tmp_path / 'run'

    def replace():
        shutil.rmtree(folder)
        folder.write_text('a file')

    runner, warnings = run(folder, {2: replace})
    runner.train()
    assert any('is a file, not a folder' in text for text in warnings)
    assert hook_of(runner).unsaved


def test_a_limit_on_the_size_of_files_is_met_like_a_full_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    runner, warnings = run(tmp_path, {2: limit})
    try:
        runner.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ['epoch_1.pth']
    assert any('File too large' in text for text in warnings)


def test_scalars_and_log_of_a_run_on_a_full_disk_stay_readable(disk, capsys):
    def fill_and_write():
        fill(disk)
        for _ in range(100):
            runner.logger.info('a line of the log ' * 10)
        # More than fits into the last page of the file.
        runner.visualizer.add_scalars({f'scalar {number}': 1.0 for number in range(1000)})

    runner, _ = run(disk, {2: fill_and_write, 3: (disk / 'filler').unlink})
    del runner.logger.warning
    runner.register_hook(HOOKS.build(dict(type='LoggerHook', interval=1)))
    for handler in runner.logger.handlers:
        handler.setLevel('INFO')
    runner.train()
    told = capsys.readouterr()
    assert told.err.count('The log cannot be written') == 1
    assert 'The scalars of the run cannot be written' in told.out
    assert 'Traceback' not in told.err + told.out and 'Logging error' not in told.err
    lines = next(disk.glob('*/vis_data/scalars.json')).read_text().splitlines()
    epochs = [json.loads(line).get('epoch') for line in lines]
    assert epochs.count(1) == epochs.count(3) == STEPS


def test_an_error_of_the_log_other_than_of_the_disk_is_shown(tmp_path, capsys):
    logger = logging.Logger('broken')
    logger.addHandler(logging.FileHandler(tmp_path / 'log'))
    keep_logging(logger)
    logger.info('%d', 'no number')
    assert 'Logging error' in capsys.readouterr().err


def test_sizes_are_told_in_a_suitable_unit():
    sizes = (0, 1023, 1024, 10 * 2**10, 3 * 2**20, 2**50)
    assert [*map(size_of, sizes)] == [
        '0 bytes',
        '1023 bytes',
        '1.0 KiB',
        '10 KiB',
        '3.0 MiB',
        '1024 TiB',
    ]
