"""A run is resumed from the newest checkpoint that is whole, in all of its processes."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from toy_runs import toy_run
from two_processes import in_two_processes

from casvit.errors import CheckpointError
from casvit_mm.engine.resume import last_read
from casvit_mm.engine.resume.choice import checkpoint_to_resume

EVERY = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best=None))


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A run of three epochs."""
    folder = tmp_path_factory.mktemp('finished') / 'run'
    toy_run(folder, default_hooks=EVERY).train()
    return folder


@pytest.fixture
def work_dir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / 'run')


class Log:
    def __init__(self):
        self.warnings = []
        self.warning = self.warnings.append


def chosen(work_dir):
    log = Log()
    file = checkpoint_to_resume(work_dir, [], log)
    return Path(file or '').name, log.warnings


def empty(file):
    file.write_bytes(b'')


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def to_nul(file):
    file.write_bytes(bytes(file.stat().st_size))


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def to_nan(file):
    content = torch.load(file, weights_only=False)
    content['state_dict']['layer.bias'].fill_(torch.nan)
    torch.save(content, file)


@pytest.mark.parametrize('damage', [empty, cut, to_nul, flip, to_nan])
def test_a_damaged_checkpoint_is_skipped_in_a_sentence(damage, work_dir):
    assert chosen(work_dir) == ('epoch_3.pth', [])
    damage(work_dir / 'epoch_3.pth')
    name, (warning,) = chosen(work_dir)
    assert name == 'epoch_2.pth'
    assert f'{work_dir}/epoch_3.pth is skipped (' in warning and '\n' not in warning


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read all')
def test_a_checkpoint_that_nobody_may_read_is_skipped(work_dir):
    (work_dir / 'epoch_3.pth').chmod(0)
    name, (warning,) = chosen(work_dir)
    assert name == 'epoch_2.pth' and 'Permission denied' in warning


@pytest.mark.parametrize('note', [None, b'', b'nowhere.pth', b'\xff\xfe', b'\0'])
def test_a_note_that_is_missing_or_useless_is_no_problem(note, work_dir):
    (work_dir / 'last_checkpoint').unlink()
    if note is not None:
        (work_dir / 'last_checkpoint').write_bytes(note)
    assert chosen(work_dir) == ('epoch_3.pth', [])


def test_a_run_without_a_whole_checkpoint_is_not_trained_over(work_dir):
    for file in work_dir.glob('*.pth'):
        cut(file)
    said = (
        r'none of its checkpoints is whole \(epoch_3\.pth: damaged.*epoch_1.*--work-dir, or remove'
    )
    with pytest.raises(CheckpointError, match=said):
        chosen(work_dir)
    for file in work_dir.glob('*.pth'):
        file.unlink()
    with pytest.raises(CheckpointError, match='holds last_checkpoint, but no checkpoint'):
        toy_run(work_dir, resume=True).train()


def test_a_folder_without_a_run_has_nothing_to_resume(tmp_path):
    assert chosen(tmp_path) == ('', [])


def test_a_recent_checkpoint_that_only_looks_newer_is_not_preferred(work_dir):
    shutil.copy(work_dir / 'epoch_2.pth', work_dir / 'recent.pth')
    assert chosen(work_dir) == ('epoch_3.pth', [])
    shutil.copy(work_dir / 'epoch_3.pth', work_dir / 'recent.pth')
    (work_dir / 'last_checkpoint').write_text('epoch_2.pth')
    (work_dir / 'epoch_3.pth').unlink()
    assert chosen(work_dir) == ('recent.pth', [])


def test_a_damaged_checkpoint_is_trained_again(work_dir):
    flip(work_dir / 'epoch_3.pth')
    runner = toy_run(work_dir, resume=True, default_hooks=EVERY)
    said = []
    runner.logger.info = said.append
    runner.train()
    assert f'Resumed from {work_dir}/epoch_2.pth (verified)' in said
    assert runner.epoch == 3
    assert chosen(work_dir) == ('epoch_3.pth', [])


def test_the_chosen_checkpoint_is_read_once(work_dir, monkeypatch):
    read, files = last_read.read_checkpoint, []
    monkeypatch.setattr(
        last_read,
        'read_checkpoint',
        lambda file, *args, **options: (
            files.append(Path(file).name) or read(file, *args, **options)
        ),
    )
    flip(work_dir / 'epoch_3.pth')
    toy_run(work_dir, epochs=4, default_hooks=EVERY, resume=True).train()
    assert files == ['epoch_3.pth', 'epoch_2.pth']


def test_a_checkpoint_of_mmengine_is_resumed_and_the_log_tells_what_was_verified(work_dir):
    torch.save(torch.load(work_dir / 'epoch_3.pth', weights_only=False), work_dir / 'epoch_3.pth')
    runner = toy_run(work_dir, resume=True, default_hooks=EVERY, epochs=4)
    said = []
    runner.logger.info = said.append
    runner.train()
    assert any('saved without checksums; only its CRC-32 was verified' in text for text in said)


def test_a_checkpoint_of_another_model_is_not_skipped(work_dir):
    runner = toy_run(work_dir, resume=True)
    runner.model.layer = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r'epoch_3\.pth does not fit the model'):
        runner.train()


def test_the_best_checkpoint_of_a_run_that_was_moved_is_replaced_by_a_better_one(tmp_path):
    best = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='mAP'))
    toy_run(tmp_path / 'old', epochs=1, default_hooks=best).train()
    copy = shutil.copytree(tmp_path / 'old', tmp_path / 'new')
    toy_run(copy, epochs=2, scores=[0.9], default_hooks=best, resume=True).train()
    names = [
        sorted(path.name for path in folder.glob('best*')) for folder in (copy, tmp_path / 'old')
    ]
    assert names == [['best_mAP_epoch_2.pth'], ['best_mAP_epoch_1.pth']]
    assert (copy / 'last_checkpoint').read_text() == 'epoch_2.pth'


def test_a_run_with_another_folder_for_checkpoints_is_resumed_from_there(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, out_dir=str(tmp_path / 'out')))
    toy_run(tmp_path / 'run', epochs=2, default_hooks=hooks).train()
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == '../out/run/epoch_2.pth'
    flip(tmp_path / 'out' / 'run' / 'epoch_2.pth')
    (tmp_path / 'run' / 'last_checkpoint').unlink()
    runner = toy_run(tmp_path / 'run', epochs=2, resume=True, default_hooks=hooks)
    runner.train()
    assert str(runner._load_from).endswith('out/run/epoch_1.pth')


def both_take_the_same(work_dir, out):
    rank = int(os.environ['RANK'])
    if rank:
        # What only one process sees decides nothing.
        work_dir = f'{work_dir}/nowhere'
    file, warnings = chosen(work_dir)
    Config(dict(file=file, warned=len(warnings))).dump(f'{out}/{rank}.json')


def both_refuse(work_dir):
    with pytest.raises(CheckpointError, match='none of its checkpoints is whole'):
        chosen(work_dir)


@pytest.mark.skipif(torch.cuda.is_available(), reason='runs processes on CPUs')
def test_all_processes_take_the_checkpoint_of_the_first(work_dir, tmp_path):
    flip(work_dir / 'epoch_3.pth')
    in_two_processes(both_take_the_same, str(work_dir), str(tmp_path))
    for rank in range(2):
        assert Config.fromfile(tmp_path / f'{rank}.json').file == 'epoch_2.pth'
    for file in work_dir.glob('*.pth'):
        cut(file)
    in_two_processes(both_refuse, str(work_dir))
