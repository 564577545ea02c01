"""Stops a run whose loss stays NaN or infinite."""

import math
from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from casvit.errors import UserError
from casvit_mm.engine.checkpoints import latest_checkpoint
from casvit_mm.registration import registered_in


class InvalidLossError(UserError, RuntimeError):
    """The loss of a run stays NaN or infinite; the message explains what to do."""


@registered_in(HOOKS)
class StopOnInvalidLossHook(Hook):
    """Stops training if the loss is not finite several times in a row.

    A single such loss is harmless: mixed precision in float16 skips that step. But once the weights
    are NaN they stay NaN, and mmengine would train on to the end.
    :class:`casvit_mm.engine.CASViTRunner` uses this hook by default;
    ``default_hooks = dict(invalid_loss=None)`` in a config disables it.

    Args:
        patience (int): Number of such losses in a row that stops the run. Defaults to 3.
    """

    def __init__(self, patience: int = 3) -> None:
        if patience < 1:
            raise ValueError(f'patience={patience}: expected at least 1')
        self.patience = patience
        self.in_a_row = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Checks the losses of a step.

        Raises:
            InvalidLossError: The loss was not finite for too many steps in a row.
        """
        losses = {name: value for name, value in (outputs or {}).items() if 'loss' in name}
        # Their sum is finite only if all are.
        total = {'loss': losses['loss']} if 'loss' in losses else losses
        broken = bool(_not_finite(total))
        if not _in_any_process(broken):
            self.in_a_row = 0
            return
        found = _not_finite(losses)
        self.in_a_row += 1
        what = ', '.join(f'{name} = {value}' for name, value in found.items())
        what = what or 'in another process'
        step = f'step {runner.iter + 1}'
        runner.logger.warning(
            f'The loss is not finite at {step}: {what} ({self.in_a_row} of {self.patience} in a '
            'row before the run stops).'
        )
        if self.in_a_row >= self.patience:
            raise InvalidLossError(
                f'The loss was not finite for {self.patience} steps in a row, the last one {step} '
                f'({what}). The run stops, as it could not learn anything from here on. '
                f'{_left(runner)} What often helps: a lower learning rate (--cfg-options '
                'optim_wrapper.optimizer.lr=LR), clipped gradients (--cfg-options '
                'optim_wrapper.clip_grad.max_norm=10), training without --amp, and casvit check '
                'for errors in the annotations.'
            )


def _not_finite(losses: Mapping[str, Tensor | float]) -> dict[str, float]:
    numbers = {}
    for name, value in losses.items():
        if isinstance(value, Tensor) and value.numel() == 1:
            numbers[name] = value.detach().item()
        elif isinstance(value, (int, float)):
            numbers[name] = value
    return {name: number for name, number in numbers.items() if not math.isfinite(number)}


def _in_any_process(broken: bool) -> bool:
    """Whether it holds in any process of a run, so that all of them stop at the same step."""
    found = torch.tensor(float(broken))
    all_reduce(found, 'max')
    return bool(found)


def _left(runner: Runner) -> str:
    last = latest_checkpoint(runner.work_dir)
    if last is None:
        return 'No checkpoint had been saved yet.'
    return f'The last checkpoint is {last}; --resume continues from it.'
