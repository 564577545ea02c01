"""A step whose numbers are not finite leaves a run as if its update had never been computed."""

import copy
import math

import pytest
import torch
from exact_runs import Random, end_of, exact_run
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from two_processes import in_two_processes

from casvit_mm.engine import InvalidLossError


class Poison(Hook):
    """Makes samples of some steps, counted from 1, NaN."""

    def __init__(self, *steps):
        self.steps = steps

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 in self.steps:
            data_batch[0].fill_(math.nan)


class Undo(Hook):
    """Undoes the update of some steps: model and optimiser are loaded as they were before."""

    priority = 'VERY_HIGH'

    def __init__(self, *steps):
        self.steps = steps

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        parts = runner.model, runner.optim_wrapper.optimizer
        self.before = [copy.deepcopy(part.state_dict()) for part in parts]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 in self.steps:
            runner.model.load_state_dict(self.before[0])
            runner.optim_wrapper.optimizer.load_state_dict(self.before[1])
            for weight in runner.model.parameters():
                weight.grad = None


def left_by(runner):
    """What a run leaves, without the numbers of skipped steps."""
    left = end_of(runner.work_dir)
    return {key: value for key, value in left.items() if key != 'hook StopOnInvalidLossHook'}


def assert_the_same(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if torch.is_tensor(value) else value == right[key]
        assert same, key


KINDS = {
    'epochs': (dict(), [6]),
    'iterations': (dict(iterations=9), [4, 5, 8]),
    'the first step': (dict(), [1]),
    'clipped gradients': (dict(clipped=True), [6]),
    'accumulated, the step that updates': (dict(accumulated=3), [6]),
    'accumulated, a step in between': (dict(accumulated=3), [5]),
    'accumulated, the first of its update': (dict(accumulated=3), [7]),
    'bfloat16': (dict(wrapper='BFloat16OptimWrapper'), [6]),
}


def trained(
    where, hook, *, accumulated=1, clipped=False, wrapper='OptimWrapper', scale=None, **options
):
    runner = exact_run(where, custom_hooks=[hook], accumulated=accumulated, **options)
    clip = dict(clip_grad=dict(max_norm=1.0)) if clipped else {}
    scaling = dict(loss_scale=scale) if scale else {}
    runner.optim_wrapper = dict(
        type=wrapper,
        optimizer=dict(type='AdamW', lr=1e-2),
        accumulative_counts=accumulated,
        **clip,
        **scaling,
    )
    runner.train()
    return runner


@pytest.mark.parametrize('kind', KINDS)
def test_the_end_of_a_run_is_that_of_one_in_which_the_update_was_undone(kind, tmp_path):
    options, steps = KINDS[kind]
    skipped = left_by(trained(tmp_path / 'skipped', Poison(*steps), **options))
    undone = left_by(trained(tmp_path / 'undone', Undo(*steps), **options))
    assert_the_same(undone, skipped)
    assert all(each.isfinite().all() for each in skipped.values() if torch.is_tensor(each))
    usual = left_by(trained(tmp_path / 'usual', Undo(), **options))
    assert not torch.equal(usual['layers.0.weight'], skipped['layers.0.weight'])


class Constant(Random):
    """Has a loss that is infinite without any influence on the gradients."""

    def forward(self, *samples, mode='tensor'):
        output = super().forward(*samples, mode=mode)
        if mode == 'loss' and torch.stack(samples).isnan().any():
            whole = torch.zeros_like(samples[0]), torch.ones_like(samples[0])
            output = dict(loss=super().forward(*whole, mode=mode)['loss'])
            output['loss_other'] = torch.tensor(math.inf)
        return output


def test_an_infinite_loss_counts_even_if_all_gradients_are_finite(tmp_path):
    hooks = Poison(6), Undo(6)
    skipped, undone = (
        left_by(trained(tmp_path / type(hook).__name__, hook, model=Constant)) for hook in hooks
    )
    assert_the_same(undone, skipped)


def test_weights_that_are_not_finite_count_before_they_are_used(tmp_path):
    runner = exact_run(tmp_path, epochs=1)

    class Break(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            # A ReLU would hide it from loss and gradients.
            runner.model.layers[0].bias.data[0] = math.inf

    runner.register_hook(Break())
    with pytest.raises(InvalidLossError):
        runner.train()
    assert not (tmp_path / 'bad_steps').exists() or not list((tmp_path / 'bad_steps').iterdir())


def test_three_bad_steps_in_a_row_stop_the_run_also_if_it_was_resumed_between_them(tmp_path):
    runner = exact_run(tmp_path, custom_hooks=[Poison(3, 5, 6, 7)])
    with pytest.raises(InvalidLossError, match='3 steps in a row') as stopped:
        runner.train()
    assert 'step 7' in str(stopped.value) and runner.iter == 6
    file = tmp_path / 'iter_6.pth'
    assert all(
        each.isfinite().all()
        for each in torch.load(file, weights_only=False)['state_dict'].values()
    )
    resumed = exact_run(
        tmp_path / 'resumed', load_from=str(file), resume=True, custom_hooks=[Poison(7)]
    )
    with pytest.raises(InvalidLossError, match='step 7'):
        resumed.train()


with_scaler = pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'), reason='torch before 2.3 scales losses only on GPUs'
)


@OPTIM_WRAPPERS.register_module()
class ScaledOptimWrapper(AmpOptimWrapper):
    """mmengine's loss scaling, which it allows on GPUs only, with a scale that is too large."""

    def __init__(self, **kwargs):
        OptimWrapper.__init__(self, **kwargs)
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.loss_scaler = torch.amp.GradScaler(device, init_scale=2.0**127, growth_interval=999)
        self._scale_update_param = None

    def optim_context(self, model):
        return OptimWrapper.optim_context(self, model)


@with_scaler
def test_steps_that_a_loss_scaler_skips_are_left_to_it(tmp_path):
    runner = trained(tmp_path, Poison(), wrapper='ScaledOptimWrapper', epochs=6)
    # It was halved at every step whose gradients were infinite: more often than the patience.
    halved = 127 - math.log2(runner.optim_wrapper.loss_scaler.get_scale())
    assert 3 < halved < runner.iter
    assert not (tmp_path / 'bad_steps').exists()
    assert left_by(runner)['optimizer 0 step'] == runner.iter - halved


@with_scaler
def test_an_invalid_loss_counts_with_a_loss_scaler_too(tmp_path):
    poison = Poison(20, 22, 23, 24)
    with pytest.raises(InvalidLossError, match='step 24'):
        trained(tmp_path, poison, wrapper='ScaledOptimWrapper', epochs=9)
    left = left_by(exact_run(tmp_path))
    assert all(each.isfinite().all() for each in left.values() if torch.is_tensor(each))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='float16 needs a GPU')
def test_a_gpu_in_float16_skips_what_overflows_and_still_stops_at_invalid_losses(tmp_path):
    scale = dict(init_scale=2.0**40, growth_interval=999)
    good = trained(tmp_path / 'good', Poison(), wrapper='AmpOptimWrapper', scale=scale, epochs=9)
    left = left_by(good)
    halved = 40 - math.log2(good.optim_wrapper.loss_scaler.get_scale())
    assert 3 < halved < good.iter
    assert left['optimizer 0 step'] == good.iter - halved
    assert not (tmp_path / 'good' / 'bad_steps').exists()
    poison = Poison(30, 31, 32)
    with pytest.raises(InvalidLossError, match='step 32'):
        trained(tmp_path / 'bad', poison, wrapper='AmpOptimWrapper', scale=scale, epochs=9)


def bad_in_one_process(where):
    """A batch of one process is bad: both skip the step, with models that share gradients."""
    rank = torch.distributed.get_rank()
    left = []
    for hook in (Poison(3, 6) if rank else Poison(), Undo(3, 6)):
        runner = exact_run(f'{where}/{type(hook).__name__}', accumulated=2, epochs=4)
        runner.register_hook(hook)
        runner.model = MMDistributedDataParallel(runner.model)
        runner.train()
        left.append({name: value.clone() for name, value in runner.model.state_dict().items()})
    assert_the_same(*left)
    weights = {name: value for name, value in left[0].items() if 'running' not in name}
    others = [None, None]
    torch.distributed.all_gather_object(others, weights)
    assert_the_same(*others)


def test_all_processes_skip_the_same_steps(tmp_path):
    in_two_processes(bad_in_one_process, str(tmp_path))
