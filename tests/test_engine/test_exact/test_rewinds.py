"""Runs that go back to a checkpoint, and leave out the batches with which they went wrong."""

import math

import pytest
import torch
from exact_runs import end_of, exact_run
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import MMDistributedDataParallel
from two_processes import in_two_processes

from casvit.errors import CheckpointError
from casvit_mm.engine import InvalidLossError, StopOnInvalidLossHook
from casvit_mm.engine.exact.rewinds import MOST
from casvit_mm.engine.exact.state import RunState


class Record(Hook):
    """Notes the samples of each step: no two of a run are alike."""

    def __init__(self):
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.steps.append({float(sample[1]) for sample in data_batch})


class Poison(Hook):
    """Makes batches with some samples NaN, whenever they are trained."""

    def __init__(self, samples):
        self.samples = samples

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.samples & {float(sample[1]) for sample in data_batch}:
            data_batch[0].fill_(math.nan)


class CutError(Exception):
    """Ends a run where a process could be killed."""


class Cut(Hook):
    """Ends a run after some steps."""

    priority = 'LOWEST'

    def __init__(self, steps):
        self.left = steps

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.left -= 1
        if self.left == 0:
            raise CutError


def rewinding(where, *hooks, rewinds=1, patience=2, **options):
    """A run that goes back, and the warnings that it gives."""
    runner = exact_run(where, custom_hooks=list(hooks), **options)
    kept = [hook for hook in runner.hooks if not isinstance(hook, StopOnInvalidLossHook)]
    runner._hooks[:] = kept
    runner.register_hook(StopOnInvalidLossHook(patience=patience, rewinds=rewinds))
    messages = []
    runner.logger.warning = messages.append
    return runner, messages


def clean(where, **options):
    """The samples of each step of a run in which nothing goes wrong."""
    record = Record()
    exact_run(where, custom_hooks=[record], **options).train()
    return record.steps


def left_by(folder):
    """What a run leaves, without the number of its bad steps."""
    return {k: v for k, v in end_of(folder).items() if k != 'hook StopOnInvalidLossHook'}


def assert_the_same(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key]
        assert same, key


def without(file, target, batches):
    """Copies a checkpoint, from which a run goes on some batches later."""
    content = torch.load(file, weights_only=False)
    content['run_state']['place']['done'] += batches
    target.parent.mkdir()
    torch.save(content, target)
    return target


INFINITE = dict(type='InfiniteSampler', shuffle=True)
KINDS = {
    'epochs': dict(batch=2),
    'iterations, accumulated gradients': dict(iterations=16, accumulated=3),
    'iterations, a sampler that cannot begin again': dict(iterations=16, sampler=INFINITE),
    'epochs, worker processes': dict(batch=2, workers=2, noisy=False),
}


@pytest.mark.parametrize(
    'kind',
    # Three runs with processes of their own take long to start and end.
    [pytest.param(kind, marks=[pytest.mark.long] if 'worker' in kind else []) for kind in KINDS],
)
def test_the_run_ends_like_one_that_is_resumed_by_hand_behind_the_bad_batches(kind, tmp_path):
    options = KINDS[kind]
    steps = clean(tmp_path / 'clean', **options)
    # Steps 11 and 12: the two before them are left out, too.
    poison = Poison(steps[10] | steps[11])
    runner, messages = rewinding(tmp_path / 'rewound', poison, **options)
    runner.train()
    by_hand = without(tmp_path / 'clean/iter_8.pth', tmp_path / 'by_hand/start.pth', 4)
    resumed = exact_run(tmp_path / 'by_hand', load_from=str(by_hand), resume=True, **options)
    resumed.train()
    assert_the_same(left_by(resumed.work_dir), left_by(runner.work_dir))
    assert runner.iter == runner.max_iters == (16 if 'iterations' in options else len(steps) - 4)
    told = next(each for each in messages if 'goes back' in each)
    assert 'iter_8.pth (after step 8)' in told and 'batches of steps 9 to 12' in told
    assert 'may go back 0 more times' in told
    # One that was killed after it had gone back.
    later = exact_run(
        tmp_path / 'later',
        load_from=str(tmp_path / 'rewound/iter_10.pth'),
        resume=True,
        **options,
    )
    later.register_hook(poison)
    later.train()
    assert_the_same(end_of(runner.work_dir), end_of(later.work_dir))


@pytest.mark.parametrize('steps', [11, 13])
def test_a_run_that_is_cut_around_its_return_goes_on_from_its_newest_checkpoint(steps, tmp_path):
    samples = clean(tmp_path / 'clean', iterations=16)
    poison = Poison(samples[10] | samples[11])
    whole, _ = rewinding(tmp_path / 'whole', poison, iterations=16)
    whole.train()
    # The step that makes the run go back is not saved: 11 were, before it.
    cut, _ = rewinding(tmp_path / 'cut', poison, Cut(steps), iterations=16)
    with pytest.raises(CutError):
        cut.train()
    resumed, _ = rewinding(tmp_path / 'cut', poison, iterations=16, resume=True)
    resumed.train()
    assert_the_same(left_by(whole.work_dir), left_by(resumed.work_dir))


def test_a_run_that_has_gone_back_often_enough_stops(tmp_path):
    steps = clean(tmp_path / 'clean', iterations=24)
    poison = Poison(set.union(*steps[8:]))
    runner, messages = rewinding(tmp_path / 'run', poison, rewinds=2, iterations=24)
    with pytest.raises(InvalidLossError, match=r'already gone back 2 times \(rewinds=2\)'):
        runner.train()
    told = [each for each in messages if 'goes back' in each]
    assert 'iter_6.pth (after step 6)' in told[0] and 'may go back 1 more time ' in told[0]
    # Further back than before, although later checkpoints of the first attempt are there.
    assert 'iter_4.pth (after step 4)' in told[1] and 'may go back 0 more times' in told[1]
    assert [each.to for each in runner.train_loop.rewinds] == [6, 4]
    names = sorted(file.name for file in (tmp_path / 'run/bad_steps').iterdir())
    assert names == ['step_10.pth', 'step_7_rewind_1.pth', 'step_9.pth']


def test_without_an_earlier_checkpoint_of_its_own_a_run_stops_and_says_so(tmp_path):
    steps = clean(tmp_path, iterations=12)
    runner, _ = rewinding(tmp_path, Poison(steps[4] | steps[5]), iterations=12)
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            hook.interval, hook.saves_before_val = 100, False
    before = sorted(tmp_path.glob('*.pth'))
    with pytest.raises(InvalidLossError, match=r'none of its checkpoints .* before step 5'):
        runner.train()
    assert set(before) <= set(tmp_path.glob('*.pth'))


def test_a_damaged_checkpoint_is_skipped_and_the_earlier_one_is_kept(tmp_path):
    steps = clean(tmp_path / 'clean', iterations=12)

    class Damage(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            file = tmp_path / 'run/iter_6.pth'
            if runner.iter == 9 and not runner.train_loop.rewinds:
                file.write_bytes(file.read_bytes()[:900])

    poison = Poison(steps[8] | steps[9])
    runner, messages = rewinding(tmp_path / 'run', poison, Damage(), iterations=12)
    runner.train()
    assert any('iter_6.pth is skipped' in each for each in messages)
    assert any('iter_5.pth (after step 5)' in each for each in messages)
    assert (tmp_path / 'run/iter_5.pth').exists()
    assert runner.train_loop.left_out == {(0, index) for index in range(6, 10)}


def in_both(where):
    """A batch of one process is bad: both go back, and leave out the same."""
    rank = torch.distributed.get_rank()
    record = Record()
    runner = exact_run(f'{where}/clean', custom_hooks=[record], iterations=10)
    runner.model = MMDistributedDataParallel(runner.model)
    runner.train()
    poison = Poison(record.steps[6] | record.steps[7] if rank else set())
    runner, _ = rewinding(f'{where}/rewound', poison, iterations=10)
    runner.model = MMDistributedDataParallel(runner.model)
    runner.train()
    assert runner.iter == 10 and runner.train_loop.left_out == {(0, i) for i in range(4, 8)}
    weights = dict(runner.model.named_parameters())
    others = [None, None]
    torch.distributed.all_gather_object(others, weights)
    assert all(torch.equal(each, others[1 - rank][name]) for name, each in weights.items())


def test_all_processes_go_back_to_the_same_checkpoint(tmp_path):
    in_two_processes(in_both, str(tmp_path))


FORGED = {
    'no list': dict(),
    'no records': [1],
    'another key': [dict(to=1, left_out=[], more=1)],
    'after the checkpoint': [dict(to=99, left_out=[])],
    'no number': [dict(to='1', left_out=[])],
    'negative': [dict(to=1, left_out=[[0, -1]])],
    'no pair': [dict(to=1, left_out=[[0]])],
    'too large': [dict(to=1, left_out=[[0, 2**60]])],
    'too many': [dict(to=1, left_out=[[0, index] for index in range(MOST + 1)])],
    'too many in all': [dict(to=1, left_out=[[0, 0]] * 200)] * 100,
}


@pytest.mark.parametrize('name', FORGED)
def test_records_that_no_run_has_written_are_refused(name):
    place = dict(epoch=0, iter=5, done=5, validation_due=False)
    state = dict(place=place, circumstances={}, gradients={}, hooks={}, rewinds=FORGED[name])
    with pytest.raises(CheckpointError, match=r'run_state\.rewinds'):
        RunState.read(state, 'file.pth')


def test_with_another_batch_size_every_batch_with_an_image_of_one_that_was_left_out_is(tmp_path):
    samples = clean(tmp_path / 'clean', iterations=16)
    poison = Poison(samples[10] | samples[11])
    runner, _ = rewinding(tmp_path / 'run', poison, iterations=16)
    runner.train()
    resumed = exact_run(
        tmp_path / 'resumed',
        load_from=str(tmp_path / 'run/iter_9.pth'),
        resume=True,
        iterations=16,
        batch=2,
    )
    resumed.train()
    assert resumed.train_loop.left_out == {(0, index) for index in range(16, 24)}


@pytest.mark.parametrize('options', [dict(rewinds=-1), dict(rewinds=1, patience=MOST)], ids=str)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValueError, match='rewinds='):
        StopOnInvalidLossHook(**options)
