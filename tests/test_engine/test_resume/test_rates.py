"""A run that is resumed with another number of images in a step keeps or scales its rates."""

import copy

import mmengine.optim as mmoptim
import pytest
import torch
from exact_runs import exact_run
from mmengine.hooks import Hook
from mmengine.optim.scheduler import CosineRestartLR
from torch import nn, optim

from casvit_mm.engine.resume.rates import scale_rates

# The warm-up of `exact_run`: from 0.1 to 1 of 0.01 in four steps, of which two are done.
REST = [0.0055, 0.00775]
CASES = {
    'half the images': (dict(processes=1, images=4), 2, True, 0.5),
    'half the processes': (dict(processes=4, images=2), 4, True, 0.5),
    'more images': (dict(processes=1, images=1), 4, True, 4.0),
    'the same in fewer processes': (dict(processes=2, images=2), 4, True, 1.0),
    'without the option': (dict(processes=1, images=4), 2, False, 1.0),
}


@pytest.fixture(scope='module')
def halted(tmp_path_factory):
    """The checkpoint of a run of one process with four images, after two steps."""
    folder = tmp_path_factory.mktemp('halted')
    exact_run(folder, iterations=2).train()
    return folder / 'iter_2.pth'


@pytest.mark.parametrize('case', CASES)
def test_rates_change_with_the_images_in_a_step_if_that_is_asked_for(case, halted, tmp_path):
    before, batch, wanted, factor = CASES[case]
    content = torch.load(halted, weights_only=False)
    content['run_state']['circumstances'].update(
        {'processes': before['processes'], 'images per process': before['images']}
    )
    torch.save(content, tmp_path / 'a.pth')
    resumed = exact_run(
        tmp_path / 'run',
        iterations=4,
        batch=batch,
        load_from=str(tmp_path / 'a.pth'),
        resume=True,
        auto_scale_lr=dict(enable=wanted, base_batch_size=3),
    )
    rates, said = [], []

    class WatchHook(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            rates.append(runner.optim_wrapper.param_groups[0]['lr'])

    resumed.register_hook(WatchHook())
    resumed.logger.addFilter(lambda record: said.append(record.getMessage()) or True)
    resumed.logger.setLevel('WARNING')
    resumed.train()
    assert rates == pytest.approx([factor * rate for rate in REST], rel=1e-12)
    assert resumed.param_schedulers[0].base_values == pytest.approx([factor * 0.01])
    assert resumed.optim_wrapper.param_groups[0]['initial_lr'] == pytest.approx(factor * 0.01)
    told = f'--auto-scale-lr multiplies all learning rates by {factor:g}'
    assert any(told in line for line in said) == (factor != 1)
    kept = 'learning rates and schedules go on as they were'
    assert any(kept in line for line in said) == (not wanted)


SCHEDULES = {
    'steps': lambda each: mmoptim.MultiStepLR(each, milestones=[2, 5]),
    'warm-up': lambda each: mmoptim.LinearLR(each, start_factor=0.1, end=6),
    'cosine': lambda each: mmoptim.CosineAnnealingLR(each, T_max=9, eta_min=0.02),
    'restarts': lambda each: CosineRestartLR(
        each, periods=[4, 9], restart_weights=[1, 0.5], eta_min=0.02
    ),
    'poly': lambda each: mmoptim.PolyLR(each, power=0.9, end=9, eta_min=0.02),
    'one cycle': lambda each: mmoptim.OneCycleLR(each, eta_max=0.2, total_steps=20),
    'plateau': lambda each: mmoptim.ReduceOnPlateauLR(each, patience=0, factor=0.5, min_value=0.03),
}


def scheduled(name):
    wrapper = mmoptim.OptimWrapper(optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9))
    return wrapper, [SCHEDULES[name](wrapper), mmoptim.StepMomentum(wrapper, step_size=2)]


def rates_of(wrapper, schedules, steps):
    rates = []
    for _ in range(steps):
        for schedule in schedules:
            schedule.step(*([dict(loss=1.0)] if hasattr(schedule, 'patience') else []))
        rates.append((wrapper.param_groups[0]['lr'], wrapper.param_groups[0]['momentum']))
    return rates


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_rest_of_a_schedule_is_scaled_as_a_whole_and_no_momentum(name):
    wrapper, schedules = scheduled(name)
    rates_of(wrapper, schedules, 3)
    state = copy.deepcopy(
        dict(
            optimizer=wrapper.state_dict(),
            param_schedulers=[schedule.state_dict() for schedule in schedules],
        )
    )
    expected = [(rate * 0.5, momentum) for rate, momentum in rates_of(wrapper, schedules, 8)]
    scale_rates(state, 0.5)
    again, others = scheduled(name)
    again.load_state_dict(state['optimizer'])
    for schedule, saved in zip(others, state['param_schedulers'], strict=True):
        schedule.load_state_dict(saved)
    rest = rates_of(again, others, 8)
    assert [rate for rate, _ in rest] == pytest.approx([rate for rate, _ in expected], rel=1e-9)
    assert [each for _, each in rest] == [each for _, each in expected]
    assert len(set(rest)) > 1
