"""The checkpoints of a run are found by their names, also after its folder was moved."""

import os

import pytest

from casvit_mm.engine.checkpoints import (
    candidates,
    latest_checkpoint,
    note_checkpoint,
    noted_checkpoint,
    traces_of_run,
)


def touch(folder, *names):
    """Creates files, each newer than the one before."""
    folder.mkdir(exist_ok=True, parents=True)
    for age, name in enumerate(names):
        (folder / name).touch()
        os.utime(folder / name, (age, age))


def found(folder, *others):
    return [os.path.relpath(path, folder) for path in candidates(folder, others)]


def test_a_note_of_a_file_in_the_work_dir_is_its_name(tmp_path, monkeypatch):
    touch(tmp_path / 'run', 'epoch_1.pth')
    monkeypatch.chdir(tmp_path)
    for work_dir, file in (
        (tmp_path / 'run', str(tmp_path / 'run' / 'epoch_1.pth')),
        ('run', 'run/epoch_1.pth'),
        ('run', './run/epoch_1.pth'),
    ):
        note_checkpoint(work_dir, file)
        assert (tmp_path / 'run' / 'last_checkpoint').read_text() == 'epoch_1.pth'


def test_a_note_of_a_file_elsewhere_is_a_path_from_the_work_dir(tmp_path):
    touch(tmp_path / 'runs' / 'a', 'log')
    touch(tmp_path / 'out' / 'a', 'epoch_1.pth')
    note_checkpoint(tmp_path / 'runs' / 'a', str(tmp_path / 'out' / 'a' / 'epoch_1.pth'))
    assert (tmp_path / 'runs' / 'a' / 'last_checkpoint').read_text() == '../../out/a/epoch_1.pth'
    tmp_path.joinpath('runs').rename(tmp_path / 'moved')
    assert found(tmp_path / 'moved' / 'a') == ['../../out/a/epoch_1.pth']


def test_a_note_of_a_remote_address_stays(tmp_path):
    note_checkpoint(tmp_path, 's3://bucket/run/epoch_1.pth')
    assert noted_checkpoint(tmp_path) == 's3://bucket/run/epoch_1.pth'
    assert candidates(tmp_path) == ['s3://bucket/run/epoch_1.pth']


def test_a_note_that_mmengine_wrote_in_a_folder_that_was_copied_means_the_copy(tmp_path):
    for name in ('old', 'new'):
        touch(tmp_path / name, 'epoch_1.pth')
        (tmp_path / name / 'last_checkpoint').write_text(str(tmp_path / 'old' / 'epoch_1.pth'))
    assert found(tmp_path / 'new') == ['epoch_1.pth']


def test_checkpoints_are_listed_from_the_newest_to_the_oldest(tmp_path):
    # The two last are left from an earlier run, which had gone further.
    touch(tmp_path, 'epoch_8.pth', 'epoch_9.pth', 'epoch_1.pth', 'recent.pth', 'epoch_2.pth')
    touch(tmp_path, 'best_mAP_epoch_9.pth', 'model.pth', '.epoch_3.pth.12')
    os.utime(tmp_path / 'epoch_8.pth', (0, 0))
    os.utime(tmp_path / 'epoch_9.pth', (1, 1))
    in_order = ['epoch_2.pth', 'recent.pth', 'epoch_1.pth', 'epoch_9.pth', 'epoch_8.pth']
    assert found(tmp_path) == in_order
    (tmp_path / 'last_checkpoint').write_text('nowhere.pth')
    assert found(tmp_path) == in_order
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    assert found(tmp_path) == in_order


def test_copies_whose_ages_are_mixed_up_start_with_the_noted_one(tmp_path):
    touch(tmp_path, 'epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth', 'last_checkpoint')
    (tmp_path / 'last_checkpoint').write_text('epoch_3.pth')
    assert found(tmp_path) == ['epoch_3.pth', 'epoch_1.pth', 'epoch_2.pth']


def test_other_folders_of_a_run_are_searched_too(tmp_path):
    touch(tmp_path / 'run', 'epoch_1.pth')
    touch(tmp_path / 'out', 'log', 'epoch_2.pth', 'recent.pth')
    assert found(tmp_path / 'run', tmp_path / 'out') == ['../out/epoch_2.pth', 'epoch_1.pth']
    assert found(tmp_path / 'run', tmp_path / 'run') == ['epoch_1.pth']


@pytest.mark.parametrize(
    'name', ['last_checkpoint', 'epoch_1.pth', 'iter_500.pth', 'recent.pth', 'best_mAP_epoch_1.pth']
)
def test_any_checkpoint_is_a_trace_of_a_run(name, tmp_path):
    assert not traces_of_run(tmp_path) and not traces_of_run(tmp_path / 'nowhere')
    touch(tmp_path, 'config.py', 'model.pth', '20260101.log', name)
    assert traces_of_run(tmp_path) == [name]


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert candidates(tmp_path / 'nowhere') == []
