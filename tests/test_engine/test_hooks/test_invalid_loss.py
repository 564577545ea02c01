"""Runs whose loss becomes NaN or infinite."""

import math

import pytest
import torch
from toy_runs import STEPS, toy_run
from two_processes import in_two_processes

from casvit_mm.engine import InvalidLossError, StopOnInvalidLossHook


def from_step(first, value=math.nan):
    return {step: value for step in range(first, 100)}


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_loss_that_stays_invalid_stops_the_run(value, tmp_path):
    runner = toy_run(tmp_path, scripted=from_step(6, value))
    with pytest.raises(InvalidLossError) as stopped:
        runner.train()
    message = str(stopped.value)
    assert 'step 8' in message and 'loss_line = ' in message
    assert str(tmp_path / 'epoch_1.pth') in message and '--resume' in message
    assert runner.iter == 7
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [
        'best_mAP_epoch_1.pth',
        'epoch_1.pth',
    ]


def test_if_there_is_no_checkpoint_yet_the_message_says_so(tmp_path):
    with pytest.raises(InvalidLossError, match='No checkpoint had been saved yet'):
        toy_run(tmp_path, scripted=from_step(1)).train()


def test_a_loss_that_recovers_is_only_a_warning(tmp_path):
    runner = toy_run(tmp_path, scripted={2: math.nan, 3: math.nan, 5: math.nan})
    messages = []
    runner.logger.warning = messages.append
    runner.train()
    told = [
        message
        for message in messages
        if 'was skipped, as loss, loss_line are not finite' in message
    ]
    assert len(told) == 3
    for step, message in zip((2, 3, 5), told, strict=True):
        assert f'The update of step {step} was skipped' in message
    assert runner.epoch == 3
    assert all(weight.isfinite().all() for weight in runner.model.parameters())


def test_the_hook_can_be_disabled_or_made_more_patient(tmp_path):
    def patience(**options):
        runner = toy_run(tmp_path, default_hooks=options)
        return [h.patience for h in runner.hooks if isinstance(h, StopOnInvalidLossHook)]

    assert patience() == [3]
    assert patience(invalid_loss=None) == []
    assert patience(invalid_loss=dict(type='StopOnInvalidLossHook', patience=9)) == [9]
    with pytest.raises(ValueError, match='patience=0'):
        StopOnInvalidLossHook(patience=0)


def both_stop(where):
    """The loss becomes NaN in one process only; both have to stop at the same step."""
    rank = torch.distributed.get_rank()
    runner = toy_run(where, scripted=from_step(2) if rank else {}, launcher='none')
    # The model is not wrapped, so that the weights of the other process stay finite.
    with pytest.raises(InvalidLossError, match='' if rank else 'in another process'):
        runner.train()
    assert runner.iter == STEPS - 1


def test_all_processes_stop_at_the_same_step(tmp_path):
    in_two_processes(both_stop, str(tmp_path))
