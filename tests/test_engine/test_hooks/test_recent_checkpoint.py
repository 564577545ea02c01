"""``recent.pth`` is written between the regular checkpoints, and before validations."""

import math

import pytest
from mmengine.hooks import Hook
from toy_runs import STEPS, toy_run

from casvit_mm.engine.hooks import safe_checkpoint
from casvit_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from casvit_mm.models import read_checkpoint


class Watch(Hook):
    """Notes the epoch and iteration of ``recent.pth`` at each point of a run where it is new."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen, self.known = [], None

    def look(self, runner, point):
        file = runner.work_dir + '/recent.pth'
        try:
            meta = read_checkpoint(file)['meta']
        except RuntimeError:
            return
        if (place := (meta['epoch'], meta['iter'])) != self.known:
            self.known = place
            self.seen.append((point, *place))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.look(runner, 'iter')

    def after_train_epoch(self, runner):
        self.look(runner, 'epoch')

    def before_val_epoch(self, runner):
        self.look(runner, 'val')


def watched(work_dir, *, epochs=3, train_cfg=None, interval=-1, **hook):
    hooks = dict(type='CheckpointHook', interval=interval, save_last=False, save_best=None, **hook)
    options = dict(train_cfg=train_cfg) if train_cfg else {}
    runner = toy_run(work_dir, epochs=epochs, default_hooks=dict(checkpoint=hooks), **options)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return watch.seen


def names(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def test_a_checkpoint_stands_before_every_validation(tmp_path):
    seen = watched(tmp_path)
    assert seen == [('val', epoch, epoch * STEPS) for epoch in (1, 2, 3)]
    assert names(tmp_path) == ['recent.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == 'recent.pth'


def test_none_is_written_before_a_validation_if_a_regular_one_has_just_been(tmp_path):
    assert watched(tmp_path, interval=1) == []
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_none_is_written_before_a_validation_if_that_is_not_wanted(tmp_path):
    assert watched(tmp_path, before_val=False) == []


def test_it_is_written_after_some_iterations_also_within_an_epoch(tmp_path):
    seen = watched(tmp_path, every_iters=3, before_val=False)
    # At the end of an epoch, the epoch counts as done.
    assert seen == [('iter', 0, 3), ('iter', 1, 6), ('iter', 2, 9), ('epoch', 3, 12)]


def test_it_is_written_after_some_minutes_without_a_checkpoint(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 20))
    monkeypatch.setattr(safe_checkpoint.time, 'monotonic', lambda: next(clock))
    seen = watched(tmp_path, every_minutes=1.5, before_val=False)
    assert 1 < len(seen) < 3 * STEPS
    assert all(place in ('iter', 'epoch') for place, *_ in seen)


def test_a_run_that_counts_iterations_writes_it_too(tmp_path):
    train_cfg = dict(by_epoch=False, max_iters=8, val_interval=4)
    seen = watched(tmp_path, train_cfg=train_cfg, by_epoch=False, every_iters=3)
    assert seen == [('iter', 0, 3), ('val', 0, 4), ('iter', 0, 6), ('val', 0, 8)]


def test_it_is_kept_beside_the_regular_ones_and_not_counted(tmp_path):
    watched(tmp_path, interval=1, every_iters=3, max_keep_ckpts=1)
    assert names(tmp_path) == ['epoch_3.pth', 'recent.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_3.pth'


def test_a_run_is_resumed_from_it_if_it_is_the_newest(tmp_path):
    watched(tmp_path, epochs=2)
    runner = toy_run(tmp_path, epochs=3, resume=True)
    runner.train()
    assert runner._load_from.endswith('recent.pth')
    assert runner.iter == 3 * STEPS


def test_it_can_be_written_at_any_moment(tmp_path):
    class Asked(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            # Called before the hook of checkpoints, like that of a signal between iterations.
            if runner.iter == 5:
                hook = next(each for each in runner.hooks if isinstance(each, SafeCheckpointHook))
                assert hook.save_recent(runner)
                runner.train_loop.stop_training = True
                raise KeyboardInterrupt

    runner = toy_run(tmp_path)
    runner.register_hook(Asked())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    meta = read_checkpoint(tmp_path / 'recent.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 5)


def test_weights_that_are_not_finite_are_not_saved_as_recent_ones(tmp_path):
    hooks = dict(type='CheckpointHook', interval=-1, save_last=False, save_best=None)
    runner = toy_run(
        tmp_path,
        scripted={2: math.nan},
        default_hooks=dict(checkpoint=hooks, invalid_loss=None),
    )
    runner.train()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    'options', [dict(every_minutes=0), dict(every_iters=-1), dict(on_error='carry on')]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SafeCheckpointHook(**options)
