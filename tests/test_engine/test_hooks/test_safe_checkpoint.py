"""Checkpoints of runs that are killed or diverge."""

import errno
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from toy_runs import is_readable, toy_run

from casvit import files
from casvit.errors import UserError
from casvit_mm.engine.checkpoints import latest_checkpoint
from casvit_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from casvit_mm.models.checkpoint.finite import all_finite

TOY_RUNS = Path(__file__).parents[2] / 'toy_runs.py'


def names(folder, pattern='*.pth'):
    return sorted(path.name for path in Path(folder).glob(pattern))


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
    """The files left by runs that were killed at each file that they touch."""
    if not hasattr(sys, 'addaudithook') or sys.platform == 'win32':
        pytest.skip('needs fork')
    where = tmp_path_factory.mktemp('killed')
    command = [sys.executable, str(TOY_RUNS), 'CASViTRunner', str(where)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout.splitlines()[-1])
    # Each epoch writes a checkpoint and the best one, removes old ones, and notes the last one.
    assert len(left) > 15
    return left


def test_a_killed_run_leaves_no_broken_file(killed):
    assert not [each for each in killed if each['broken']]


def test_after_the_first_checkpoint_a_killed_run_always_leaves_one(killed):
    first = next(i for i, each in enumerate(killed) if 'epoch_1.pth' in each['files'])
    assert first < 6
    for each in killed[first:]:
        assert any(name.startswith('epoch_') for name in each['files']), each
    first = next(i for i, e in enumerate(killed) if any(n.startswith('best') for n in e['files']))
    for each in killed[first:]:
        assert any(name.startswith('best_') for name in each['files']), each


def test_a_killed_run_can_be_resumed_and_ends_with_the_same_weights(killed):
    undisturbed = None
    for each in (killed[-1], killed[1], killed[8], killed[11], killed[14]):
        work_dir = Path(each['work_dir'])
        last = latest_checkpoint(work_dir)
        assert (last is None) == (not any(n.startswith('epoch') for n in each['files']))
        toy_run(work_dir, resume=True).train()
        # There may also be a best one that the run had no time to remove.
        assert {'best_mAP_epoch_3.pth', 'epoch_3.pth'} <= set(names(work_dir))
        assert names(work_dir, 'epoch*') == ['epoch_3.pth']
        assert not names(work_dir, '.*.pth.*')
        weight = torch.load(work_dir / 'epoch_3.pth', weights_only=False)['state_dict']
        undisturbed = undisturbed or weight
        assert all(torch.equal(weight[key], undisturbed[key]) for key in weight)


@pytest.mark.parametrize('kind', ['CheckpointHook', CheckpointHook, 'SafeCheckpointHook', None])
def test_a_config_that_names_another_checkpoint_hook_gets_the_safe_one(kind, tmp_path):
    hooks = {} if kind is None else dict(checkpoint=dict(type=kind, interval=1))
    runner = toy_run(tmp_path, default_hooks=hooks)
    kinds = [type(hook) for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    assert kinds == [SafeCheckpointHook]


def test_the_checkpoint_hook_can_be_disabled(tmp_path):
    runner = toy_run(tmp_path, default_hooks=dict(checkpoint=None))
    assert not any(isinstance(hook, CheckpointHook) for hook in runner.hooks)


@pytest.mark.parametrize('broken', [math.nan, math.inf, -math.inf, torch.tensor(math.nan)])
@pytest.mark.parametrize('rule', ['greater', 'less'])
def test_a_metric_that_is_not_finite_is_never_the_best(broken, rule, tmp_path):
    checkpoint = dict(type='CheckpointHook', interval=1, save_best='mAP', rule=rule)
    scores = [broken, 0.5, broken]
    toy_run(tmp_path, scores=scores, default_hooks=dict(checkpoint=checkpoint)).train()
    assert names(tmp_path, 'best_*') == ['best_mAP_epoch_2.pth']


@pytest.mark.parametrize('save_best', ['auto', ['mAP']])
def test_the_best_checkpoint_is_chosen_as_usual_among_finite_metrics(save_best, tmp_path):
    checkpoint = dict(type='CheckpointHook', interval=1, save_best=save_best)
    toy_run(tmp_path, scores=[0.1, 0.7, 0.3], default_hooks=dict(checkpoint=checkpoint)).train()
    assert names(tmp_path) == ['best_mAP_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_weights_that_are_not_finite_replace_no_checkpoint(tmp_path):
    # The loss is NaN once in the second epoch, and the weights are NaN from then on.
    runner = toy_run(
        tmp_path,
        scripted={6: math.nan},
        default_hooks=dict(invalid_loss=None),
        scores=[0.1, 0.9, 1],
    )
    runner.train()
    assert not all_finite(runner.model)
    assert names(tmp_path) == ['best_mAP_epoch_1.pth', 'epoch_1.pth']
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in saved.values())


def test_finite_values_whose_sum_overflows_count_as_finite():
    layer = torch.nn.Linear(4, 4)
    layer.weight.data.fill_(3e38)
    assert all_finite(layer)
    layer.weight.data[0, 0] = math.inf
    assert not all_finite(layer)
    norm = torch.nn.BatchNorm2d(2)
    assert all_finite(norm)
    norm.running_var[1] = math.nan
    assert not all_finite(norm)


def test_a_full_disk_is_a_warning_that_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    toy_run(tmp_path, epochs=1).train()
    before = (tmp_path / 'epoch_1.pth').read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, 'No space left on device', 'disk')

    monkeypatch.setattr(files.os, 'fsync', full)
    runner = toy_run(tmp_path, epochs=2, resume=True)
    warnings = []
    runner.logger.warning = warnings.append
    runner.train()
    assert any('epoch_2.pth cannot be written' in text for text in warnings)
    assert names(tmp_path) == ['best_mAP_epoch_1.pth', 'epoch_1.pth']
    assert (tmp_path / 'epoch_1.pth').read_bytes() == before
    assert not names(tmp_path, '.*')


def test_a_run_continues_from_the_newest_checkpoint_if_last_checkpoint_is_unusable(tmp_path):
    toy_run(
        tmp_path, default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1))
    ).train()
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_3.pth')
    for content in (b'', b'nowhere.pth', b'\xff\xfe', None):
        note = tmp_path / 'last_checkpoint'
        note.unlink() if content is None else note.write_bytes(content)
        assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_3.pth')


def test_a_run_in_a_moved_folder_continues_from_its_own_checkpoint(tmp_path):
    toy_run(tmp_path / 'old', epochs=2).train()
    (tmp_path / 'old').rename(tmp_path / 'new')
    assert latest_checkpoint(tmp_path / 'new') == str(tmp_path / 'new' / 'epoch_2.pth')
    runner = toy_run(tmp_path / 'new', epochs=3, resume=True)
    runner.train()
    assert runner.epoch == 3
    assert names(tmp_path / 'new', 'epoch*') == ['epoch_3.pth']


def test_resuming_without_a_checkpoint_starts_from_the_beginning_with_a_warning(tmp_path, caplog):
    runner = toy_run(tmp_path, epochs=1, resume=True)
    messages = []
    runner.logger.warning = messages.append
    runner.train()
    assert any('starts from the beginning' in message for message in messages)
    assert is_readable(tmp_path / 'epoch_1.pth')


def test_an_unfinished_file_of_a_killed_run_is_removed(tmp_path):
    (tmp_path / '.epoch_1.pth.1234').write_bytes(b'part')
    toy_run(tmp_path, epochs=1).train()
    assert not names(tmp_path, '.*')


def test_strings_of_a_config_inside_a_checkpoint_are_read_unchanged(tmp_path, monkeypatch):
    marker = tmp_path / 'ran'
    name = f"{{{{$NOT_SET:'+open('{marker}','w').write('x')+'}}}}"
    runner = toy_run(tmp_path, epochs=1)
    (tmp_path / 'mine').mkdir()
    file = tmp_path / 'mine' / 'run.py'
    file.write_text('a = 1')
    runner.cfg = Config(dict(classes=(name, 'b')), filename=str(file))
    runner.train()
    runner.dump_config()
    inside = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['meta']['cfg']
    for cfg in (
        Config.fromstring(inside, '.py'),
        Config.fromfile(tmp_path / 'run.py'),
    ):
        assert cfg.classes == (name, 'b')
    assert not marker.exists()


def test_a_metric_to_keep_the_best_checkpoint_by_that_does_not_exist_is_named(tmp_path):
    hook = dict(type='CheckpointHook', save_best='map', rule='greater')
    run = toy_run(tmp_path, default_hooks=dict(checkpoint=hook))
    with pytest.raises(UserError, match=r"save_best is 'map'.*'mAP'"):
        run.train()
