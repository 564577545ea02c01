"""`train --resume` from a stranger's checkpoint: code, paths and states that do not belong."""

import json
from argparse import Namespace

import pytest
import torch
from hostile.parts import mark
from mmengine.logging import HistoryBuffer
from quick_runs import DEMO, QUICK
from safetensors.torch import save_file

BEST = ['default_hooks.checkpoint.save_best=coco/bbox_mAP', 'default_hooks.checkpoint.rule=greater']


@pytest.fixture
def resume(call, shapes, checkpoint, tmp_path):
    """Resumes the finished run from a changed checkpoint, for one more epoch."""

    def run(change):
        file = tmp_path / 'changed.pth'
        content = torch.load(checkpoint, weights_only=False)
        change(content, file)
        torch.save(content, file)
        where = ['--data-root', shapes, '--work-dir', tmp_path / 'run', '--resume', file]
        answer = call('train', DEMO, *where, *QUICK, 'train_cfg.max_epochs=2', *BEST)
        assert not mark(file).exists()
        assert 'Traceback (most recent' not in answer.err
        return answer

    return run


def _first(content):
    """The state of the first weight in the optimiser."""
    return next(iter(content['optimizer']['state'].values()))


def _average(value):
    """A change of the average of a gradient, by its shape."""

    def change(content, file):
        state = _first(content)
        name = next(key for key, value in state.items() if getattr(value, 'ndim', 0) > 0)
        state[name] = value(state[name])

    return change


def _meta(**values):
    return lambda content, file: content['meta'].update(values)


def _group(**values):
    return lambda content, file: content['optimizer']['param_groups'][0].update(values)


def _schedule(**values):
    return lambda content, file: content['param_schedulers'][0].update(values)


REFUSED = {
    'an iteration below zero': _meta(iter=-1),
    'an iteration of 600 digits': _meta(iter=10**600),
    'an iteration that is text': _meta(iter='9'),
    'an epoch of 600 digits': _meta(epoch=10**600),
    'an epoch that is no number': _meta(epoch=float('nan')),
    'an epoch that is a list': _meta(epoch=[1]),
    'a state of another shape': _average(lambda value: torch.zeros(10**6)),
    'a state of integers': _average(lambda value: value.long()),
    'a state that is text': _average(lambda value: 'abc'),
    'a state of an unknown weight': lambda content, file: content['optimizer']['state'].update(
        {10**6: {'exp_avg': torch.zeros(1)}}
    ),
    'a learning rate that is text': _group(lr='0.1'),
    'a learning rate that is a list': _group(lr=[0.1]),
    'places of weights that are text': _group(params=['0']),
    'a schedule with another optimizer': _schedule(optimizer={'lr': 1}),
    'a schedule with a method': _schedule(step='import os'),
    'schedules that are text': lambda content, file: content.update(param_schedulers='linear'),
    'no history': lambda content, file: content['message_hub'].update(log_scalars=[1]),
}


def _hub(content, file):
    hub = content['message_hub']
    hub['log_scalars'].update(
        {'\x1b[31mred': HistoryBuffer([1.0], [1]), 'text': 'abc', 7: HistoryBuffer([1.0], [1])}
    )
    hub['runtime_info'].update(
        {'epoch': 'nine', 3: 4, 'odd\n': 1, 'args': Namespace(a=1), 'deep': [[Namespace(a=1)]]}
    )
    hub['resumed_keys'].update(
        {'text': 'yes', 5: True, 'gone': True, '\x1b[31mred': True, 'args': True, 'deep': True}
    )


def _code(content, file):
    code = f'open({str(mark(file))!r}, "w")'
    content['meta'].update(config=code, cfg=code, hook_msgs={'a': code}, mmengine_version=code)
    content['message_hub']['runtime_info'].update(cfg=code, config=code)


def _paths(content, file):
    (file.parent / 'best_precious.pth').write_text('mine')
    names = {
        f'best_ckpt{end}': str(file.parent / 'best_precious.pth') for end in ('', '_coco/bbox_mAP')
    }
    info = {**names, 'best_score': -1.0, 'last_ckpt': str(file.parent / 'best_precious.pth')}
    content['message_hub']['runtime_info'].update(info)
    content['message_hub']['resumed_keys'].update(dict.fromkeys(info, True))


HARMLESS = {'an odd hub': _hub, 'code': _code, 'paths of others': _paths}


@pytest.mark.long
@pytest.mark.parametrize('kind', REFUSED)
def test_a_state_that_is_none_is_a_sentence(kind, resume):
    answer = resume(REFUSED[kind])
    assert answer.code == 2, answer.err
    assert 'changed.pth' in answer.err


@pytest.mark.long
@pytest.mark.parametrize('kind', HARMLESS)
def test_what_is_not_the_state_of_a_run_is_left_out(kind, resume, tmp_path):
    answer = resume(HARMLESS[kind])
    assert answer.code == 0, answer.err
    assert '\x1b[31mred' not in answer.out + answer.err
    precious = tmp_path / 'best_precious.pth'
    assert kind != 'paths of others' or precious.read_text() == 'mine'
    # What was left out is not in the next checkpoint either, which can be read.
    from casvit_mm.models import read_checkpoint

    content = read_checkpoint(tmp_path / 'run/epoch_2.pth')
    assert mark(tmp_path / 'changed.pth').name not in str(content['message_hub'])
    assert '\x1b[31mred' not in content['message_hub']['log_scalars']


@pytest.mark.long
def test_safetensors_hold_no_state_and_their_code_does_not_run(call, shapes, checkpoint, tmp_path):
    file = tmp_path / 'changed.safetensors'
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    weights = {key: value.contiguous() for key, value in state.items()}
    code = f'open({str(mark(file))!r}, "w")'
    hub = {'log_scalars': {}, 'runtime_info': {'cfg': code}, 'resumed_keys': {}}
    metadata = dict(config=code, cfg=code, epoch='1', iter='2', message_hub=json.dumps(hub))
    save_file(weights, file, metadata=metadata)
    answer = call('train', DEMO, '--data-root', shapes, '--resume', file, *QUICK)
    assert answer.code == 2 and 'changed.safetensors' in answer.err
    assert 'does not hold the state of a training run' in answer.err
    assert not mark(file).exists()
