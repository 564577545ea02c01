"""The state of optimisers and schedules is compared with the run before it is loaded."""

import copy

import mmengine.optim as mmoptim
import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import nn, optim

from casvit.errors import CheckpointError
from casvit_mm.engine.resume.training_state import check_optimizers, check_schedules

OPTIMIZERS = dict(
    sgd=lambda weights: optim.SGD(weights, lr=0.1, momentum=0.9),
    adamw=lambda weights: optim.AdamW(weights, lr=0.1),
    amsgrad=lambda weights: optim.AdamW(weights, lr=0.1, amsgrad=True),
    rmsprop=lambda weights: optim.RMSprop(weights, lr=0.1, momentum=0.9, centered=True),
    adagrad=lambda weights: optim.Adagrad(weights, lr=0.1),
    nadam=lambda weights: optim.NAdam(weights, lr=0.1),
)
SCHEDULES = dict(
    multi_step=lambda each: mmoptim.MultiStepLR(each, milestones=[2, 4, 4]),
    linear=lambda each: mmoptim.LinearLR(each, start_factor=0.1, end=5),
    cosine=lambda each: mmoptim.CosineAnnealingLR(each, T_max=9),
    poly=lambda each: mmoptim.PolyLR(each, power=0.9, end=9),
    one_cycle=lambda each: mmoptim.OneCycleLR(each, eta_max=0.2, total_steps=20),
    momentum=lambda each: mmoptim.ConstantMomentum(each),
)


def wrapped(name, kind=OptimWrapper):
    """A wrapper of two groups of weights, after a step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    groups = [
        dict(params=list(each.parameters()), weight_decay=0.1 * i) for i, each in enumerate(model)
    ]
    wrapper = kind(OPTIMIZERS[name](groups))
    model(torch.ones(2, 2, 4, 4)).square().sum().backward()
    wrapper.optimizer.step()
    return wrapper


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_the_state_of_the_same_optimiser_is_loaded_as_it_is(name):
    state = wrapped(name).state_dict()
    own = wrapped(name)
    own.load_state_dict(check_optimizers(copy.deepcopy(state), own, 'a.pth'))
    again = own.state_dict()
    assert again['param_groups'] == state['param_groups']
    for key, entries in state['state'].items():
        for entry, value in entries.items():
            torch.testing.assert_close(again['state'][key][entry], value, rtol=0, atol=0)


def test_the_state_of_a_run_with_mixed_precision_and_of_several_optimisers_is_loaded():
    mixed = wrapped('adamw', AmpOptimWrapper) if torch.cuda.is_available() else wrapped('adamw')
    both = OptimWrapperDict(one=mixed, two=wrapped('sgd'))
    state = copy.deepcopy(both.state_dict())
    both.load_state_dict(check_optimizers(state, both, 'a.pth'))
    with pytest.raises(CheckpointError, match='optimizer'):
        check_optimizers(dict(one=state['one']), both, 'a.pth')


def test_how_an_optimiser_computes_is_up_to_the_run():
    state = wrapped('adamw').state_dict()
    for group in state['param_groups']:
        group.update(fused=True, foreach=True, capturable=True)
    checked = check_optimizers(state, wrapped('adamw'), 'a.pth')
    for group in checked['param_groups']:
        assert not group['fused'] and not group['capturable']


def test_options_that_an_older_torch_did_not_have_are_those_of_the_run():
    state = wrapped('adamw').state_dict()
    for group in state['param_groups']:
        del group['eps'], group['maximize']
    own = wrapped('adamw')
    own.load_state_dict(check_optimizers(state, own, 'a.pth'))
    assert own.param_groups[0]['eps'] == 1e-8


def change(path, value):
    """Changes an entry deep in a state."""

    def changed(state):
        *places, last = path
        inner = state
        for place in places:
            inner = inner[place]
        inner[last] = value

    return changed


HARMFUL = {
    'a moment of another shape': change(('state', 0, 'exp_avg'), torch.zeros(1, 2)),
    'a moment without elements': change(('state', 0, 'exp_avg'), torch.zeros(0)),
    'a moment of integers': change(('state', 0, 'exp_avg'), torch.zeros(3, 2, 1, 1).long()),
    'a sparse moment': change(('state', 0, 'exp_avg'), torch.zeros(3, 2, 1, 1).to_sparse()),
    'a moment that is text': change(('state', 0, 'exp_avg'), 'text'),
    'a step of many elements': change(('state', 0, 'step'), torch.zeros(7)),
    'a moment that is a number': change(('state', 0, 'exp_avg'), 2),
    'a moment that is missing': change(('state', 1, 'exp_avg_sq'), None),
    'a moment of a single element': change(('state', 1, 'exp_avg'), torch.tensor(1.0)),
    'a state of a weight that is not there': change(('state', 99), {}),
    'a state that is a list': change(('state', 0), []),
    'states that are a list': change(('state',), []),
    'a group too few': change(('param_groups',), []),
    'groups that are none': change(('param_groups', 0), 3),
    'weights that are no numbers': change(('param_groups', 0, 'params'), ['a', 'b']),
    'weights too many': change(('param_groups', 0, 'params'), list(range(9))),
    'a learning rate that is text': change(('param_groups', 0, 'lr'), '0.1'),
    'a learning rate that is a list': change(('param_groups', 0, 'lr'), [0.1]),
    'betas of another length': change(('param_groups', 0, 'betas'), (0.9,)),
    'an unknown option that is no number': change(('param_groups', 0, 'hook'), 'print'),
    'a learning rate that is NaN': change(('param_groups', 0, 'lr'), float('nan')),
    'a learning rate that is infinite': change(('param_groups', 1, 'lr'), float('inf')),
    'a learning rate below zero': change(('param_groups', 1, 'lr'), -0.1),
    'a learning rate that is missing': change(('param_groups', 0, 'lr'), None),
    'a learning rate that is complex': change(('param_groups', 0, 'lr'), 1j),
    'a weight decay of 600 digits': change(('param_groups', 0, 'weight_decay'), 10**600),
    'betas that divide by zero': change(('param_groups', 0, 'betas'), (1.0, 0.9)),
    'a step below zero': change(('state', 0, 'step'), torch.tensor(-1.0)),
    'a step that is NaN': change(('state', 0, 'step'), float('nan')),
    'a step for each element': change(('state', 1, 'step'), torch.ones(3)),
    'an unknown key': change(('hooks',), {}),
    'a scaler that is text': change(('loss_scaler',), 'text'),
}


@pytest.mark.parametrize('name', HARMFUL)
def test_a_state_that_does_not_fit_is_refused_in_a_sentence(name):
    state = copy.deepcopy(wrapped('adamw').state_dict())
    HARMFUL[name](state)
    with pytest.raises(CheckpointError, match=r'^a\.pth holds the state of another kind of run'):
        check_optimizers(state, wrapped('adamw'), 'a.pth')


@pytest.mark.parametrize('state', [None, [], 'text', {}, dict(state={})], ids=str)
def test_something_else_than_a_state_is_refused(state):
    with pytest.raises(CheckpointError, match=r'a\.pth'):
        check_optimizers(state, wrapped('adamw'), 'a.pth')


def schedule(name):
    wrapper = wrapped('sgd')
    return SCHEDULES[name](wrapper.optimizer)


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_state_of_the_same_schedule_is_taken(name):
    before = schedule(name)
    before.step()
    own = schedule(name)
    state = [before.state_dict()]
    check_schedules(state, [own], 'a.pth')
    own.load_state_dict(state[0])
    assert own.last_step == before.last_step
    check_schedules(dict(main=state), dict(main=[own]), 'a.pth')


@pytest.mark.parametrize(
    'change_of',
    [
        dict(optimizer='text'),
        dict(step='text'),
        dict(__class__='text'),
        dict(last_step='text'),
        dict(last_step=[1]),
        dict(base_values='text'),
        dict(base_values=[0.1] * 9),
        dict(param_name='params'),
        dict(param_name=None),
        dict(by_epoch=3),
    ],
    ids=str,
)
def test_a_schedule_that_does_not_fit_is_refused_in_a_sentence(change_of):
    own = schedule('multi_step')
    with pytest.raises(CheckpointError, match=r'param_schedulers\.0 has .*MultiStepLR'):
        check_schedules([{**own.state_dict(), **change_of}], [own], 'a.pth')


NO_NEXT_VALUE = [
    ('multi_step', dict(last_step=float('nan'))),
    ('multi_step', dict(last_step=10**600)),
    ('multi_step', dict(gamma=7, milestones={1: 10**9})),
    ('multi_step', dict(gamma=1j)),
    ('linear', dict(start_factor=0, last_step=0)),
    ('cosine', dict(T_max=0, last_step=3)),
    ('cosine', dict(eta_min=None)),
    ('poly', dict(total_iters=4, last_step=4)),
    ('one_cycle', dict(last_step=99)),
    ('momentum', dict(base_values=[0.1])),
]


@pytest.mark.parametrize(('name', 'changes'), NO_NEXT_VALUE, ids=str)
def test_a_schedule_that_would_stop_or_hang_the_run_is_refused_in_a_sentence(name, changes):
    own = schedule(name)
    state = {**own.state_dict(), **changes}
    with pytest.raises(CheckpointError, match=r'param_schedulers\.0 '):
        check_schedules([state], [own], 'a.pth')


def test_the_best_metric_of_a_schedule_may_be_infinite():
    own = mmoptim.ReduceOnPlateauLR(wrapped('sgd').optimizer)
    check_schedules([{**own.state_dict(), 'best': -float('inf')}], [own], 'a.pth')


@pytest.mark.parametrize('state', [None, [], {}, 'text', [1], [{}, {}]], ids=str)
def test_something_else_than_schedules_is_refused(state):
    with pytest.raises(CheckpointError, match='param_schedulers'):
        check_schedules(state, [schedule('linear')], 'a.pth')


def test_schedules_of_other_optimisers_are_refused():
    schedules = dict(one=[SCHEDULES['linear'](wrapped('sgd'))])
    state = [schedules['one'][0].state_dict()]
    check_schedules(dict(one=state), schedules, 'a.pth')
    for other in (dict(two=state), state):
        with pytest.raises(CheckpointError, match=r'param_schedulers .*is for other optimizers'):
            check_schedules(other, schedules, 'a.pth')
