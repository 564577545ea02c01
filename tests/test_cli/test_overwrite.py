"""A run is not trained over by mistake, and its folder may be damaged, full or moved."""

import shutil

import pytest
from full_disks import fill, small_disk
from quick_runs import DEMO, QUICK


def state_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def copy(work_dir, tmp_path):
    """A copy of the finished run elsewhere, with the old one out of reach."""
    return shutil.copytree(work_dir, tmp_path / 'copied')


def test_training_into_the_folder_of_a_run_is_refused_and_changes_nothing(call, shapes, copy):
    before = state_of(copy)
    answer = call('train', DEMO, '--data-root', shapes, '--work-dir', copy, *QUICK)
    assert answer.code == 2
    for word in (str(copy), 'epoch_1.pth', '--resume', '--work-dir', '--overwrite'):
        assert word in answer.err
    assert 'Traceback' not in answer.err
    assert state_of(copy) == before


def test_fine_tuning_into_the_folder_of_a_run_is_refused_at_once(call, shapes, copy):
    before = state_of(copy)
    options = ['--task', 'detection', '--size', 'xs', '--work-dir', copy]
    answer = call('finetune', shapes, *options)
    assert answer.code == 2
    for word in (str(copy), '--resume', '--work-dir', '--overwrite'):
        assert word in answer.err
    assert state_of(copy) == before


def test_a_run_can_be_trained_over_if_that_is_asked_for(call, shapes, copy):
    (copy / 'mine.txt').write_text('mine')
    before = (copy / 'epoch_1.pth').stat().st_mtime_ns
    options = ['--work-dir', copy, '--overwrite', *QUICK]
    answer = call('train', DEMO, '--data-root', shapes, *options)
    assert answer.code == 0, answer.err
    assert (copy / 'epoch_1.pth').stat().st_mtime_ns > before
    assert (copy / 'mine.txt').is_file()


def test_to_resume_and_to_train_over_contradict_each_other(call, shapes):
    answer = call('train', DEMO, '--data-root', shapes, '--resume', '--overwrite')
    assert answer.code == 2
    assert 'leave one out' in answer.err


def test_a_run_none_of_whose_checkpoints_is_whole_is_not_resumed(call, shapes, copy):
    for file in copy.glob('*.pth'):
        file.write_bytes(bytes(1000))
    options = ['--work-dir', copy, '--resume', *QUICK]
    answer = call('train', DEMO, '--data-root', shapes, *options)
    assert answer.code == 2
    assert 'none of its checkpoints is whole (epoch_1.pth' in answer.err
    assert 'another --work-dir, or remove these files' in answer.err
    assert 'Traceback (most' not in answer.err


@pytest.mark.parametrize('options', [[], ['--resume']])
def test_a_run_does_not_start_on_a_full_disk(options, call, shapes, tmp_path):
    with small_disk(tmp_path / 'disk') as disk:
        fill(disk)
        where = ['--data-root', shapes, '--work-dir', disk, *options]
        answer = call('train', DEMO, *where, *QUICK)
        assert answer.code == 2
        assert f'work dir {disk} cannot be used: No space left on device' in answer.err
        assert 'Traceback' not in answer.err


def test_a_run_that_loses_its_last_checkpoint_says_so_and_exits_with_an_error(
    call, shapes, tmp_path
):
    with small_disk(tmp_path / 'disk') as disk:
        # Enough for its log and its config, but not for a checkpoint of several megabytes.
        answer = call('train', DEMO, '--data-root', shapes, '--work-dir', disk, *QUICK)
        assert answer.code == 2, answer.out
        assert 'Training has finished, but its last checkpoint is lost' in answer.err
        assert 'No space left on device' in answer.err
        assert 'Traceback (most' not in answer.err + answer.out
        assert not list(disk.glob('*.pth')) and not list(disk.glob('.*'))
