"""Skips updates from numbers that are NaN or infinite, and stops a run that has nothing else."""

import math
from collections.abc import Mapping
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from casvit.errors import UserError
from casvit.sentences import from_here
from casvit_mm.engine.agreement import in_any_process, is_first_with
from casvit_mm.engine.bad_steps.batch import NotPlainError, images_in
from casvit_mm.engine.bad_steps.guard import StepGuard
from casvit_mm.engine.bad_steps.record import LARGEST, BadStep, NotStoredError, listed, numbers_in
from casvit_mm.engine.bad_steps.replay import breaks_alone
from casvit_mm.engine.bad_steps.way_back import NAMED, WayBack
from casvit_mm.engine.checkpoints import latest_checkpoint
from casvit_mm.engine.disk.outage import not_written, size_of
from casvit_mm.registration import registered_in


class InvalidLossError(UserError, RuntimeError):
    """The loss of a run stays NaN or infinite; the message explains what to do."""


@registered_in(HOOKS)
class StopOnInvalidLossHook(Hook):
    """Skips the update of a step whose numbers are not finite, and stops after several in a row.

    Losses, gradients and weights are looked at before the optimiser uses them. If a value is NaN or
    infinite, the gradients are dropped, also those that were accumulated before; weights and
    optimiser stay as they are, and buffers (statistics of batch norms) become what they were. What
    is needed to compute the step again is written to ``bad_steps/step_N.pth`` in the work dir, for
    ``casvit replay``. With a loss scaler (float16), gradients are left to it: it skips steps too.

    With ``rewinds``, a run that would stop goes back instead to the newest checkpoint in its work
    dir from before these steps, and trains again from there without their batches, and without
    those of as many steps before them. The batches that are left out are no steps: a run that
    counts iterations trains with others instead, and one that counts epochs has fewer steps.

    :class:`casvit_mm.engine.CASViTRunner` uses this hook by default;
    ``default_hooks = dict(invalid_loss=None)`` in a config disables it.

    Args:
        patience (int): Number of such steps in a row that stops the run. Defaults to 3.
        max_files (int): Number of steps of a run that are stored, with at most 2 GiB each.
            Defaults to 3.
        rewinds (int): Number of times that a run goes back before it stops. Defaults to 0.
    """

    # Other hooks see the model as it is after the skipped update: those that average weights, too.
    priority = 'VERY_HIGH'

    def __init__(self, patience: int = 3, max_files: int = 3, rewinds: int = 0) -> None:
        if patience < 1:
            raise ValueError(f'patience={patience}: expected at least 1')
        if max_files < 0:
            raise ValueError(f'max_files={max_files}: expected at least 0')
        self.patience, self.max_files = patience, max_files
        self.in_a_row = 0
        self.stored = 0
        """Files that the run has written."""
        self._stored_at_most = 0
        self._guard: StepGuard | None = None
        self._way_back = WayBack(rewinds, patience)

    def before_train(self, runner: Runner) -> None:
        """Begins to look at steps."""
        self._guard = StepGuard(runner.model, runner.optim_wrapper)
        self._way_back.begin(runner)

    def after_rewind(self, runner: Runner) -> None:
        """Counts the files that were written before the run went back."""
        self.stored = max(self.stored, self._stored_at_most)

    def after_train(self, runner: Runner) -> None:
        """Ends it."""
        if self._guard is not None:
            self._guard.remove()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Notes what a step may change beside the weights."""
        if self._guard is not None:
            self._guard.begin()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Tells of a step whose update was skipped.

        Raises:
            InvalidLossError: There were too many in a row.
            RewindError: There were, and the run goes on from an earlier checkpoint.
        """
        self._way_back.note(data_batch)
        if self._guard is None or not self._guard.end(outputs or {}):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        losses, found = numbers_in(outputs or {}), self._guard.found
        what = _what(losses, found)
        step = f'step {runner.iter + 1}'
        runner.logger.warning(
            f'The update of {step} was skipped, as {what}: losses {listed(losses) or "unknown"}; '
            f'{_images(data_batch)} ({self.in_a_row} of {self.patience} in a row before the run '
            'stops).'
        )
        self._store(runner, data_batch, losses, found, batch_idx)
        if self.in_a_row >= self.patience:
            self._stored_at_most = self.stored
            why_here = self._way_back.take(runner, self.in_a_row)
            left = ' '.join(filter(None, [why_here, _left(runner)]))
            raise InvalidLossError(
                f'The loss was not finite for {self.patience} steps in a row, or its gradient: in '
                f'the last one, {step}, {what} ({listed(losses)}). The run stops, as it could not '
                f'learn anything from here on. {left} What often helps: a lower learning rate '
                '(--cfg-options optim_wrapper.optimizer.lr=LR), clipped gradients '
                '(--cfg-options optim_wrapper.clip_grad.max_norm=10), training without --amp, and '
                'casvit check for errors in the annotations.'
            )

    def _store(
        self, runner: Runner, batch: Any, losses: dict[str, float], found: list[str], index: int
    ) -> None:
        """Writes the file of a step, if the run may have another one.

        In a run of several processes, it is that of the first one whose own losses are not finite.
        Gradients are shared: those of one process are in all of them. If all losses are finite, the
        step is computed again to find the process whose own gradients are not.
        """
        if self.stored >= self.max_files:
            return
        self.stored += 1
        is_cause = 'loss' in found
        if get_world_size() > 1 and not in_any_process(is_cause or 'weight' in found):
            is_cause = breaks_alone(runner, batch)
            if self._guard is not None:
                self._guard.restore()
        said = ''
        if is_first_with(is_cause):
            # In a run that counts iterations, the index of a batch does so, too.
            said = self._written(runner, batch, losses, found, index)
        for sentence in filter(None, all_gather_object(said)):
            # Other processes than the first one show no warnings.
            runner.logger.warning(sentence)

    def _written(
        self, runner: Runner, batch: Any, losses: dict[str, float], found: list[str], index: int
    ) -> str:
        """Writes the file of a step; gives a sentence about it."""
        try:
            path = BadStep.of(runner, batch, losses, found, index).write(runner)
        except (NotPlainError, NotStoredError) as error:
            return f'The step is not stored to be replayed: {error}.'
        except OSError as error:
            reason = not_written('the step', runner.work_dir, error)
            return f'{reason[0].upper()}{reason[1:]}. The run goes on without.'
        whose = f' of process {get_rank()} ({_images(batch)})' if get_world_size() > 1 else ''
        return (
            f'The step{whose} is stored in {from_here(path)} (file {self.stored} of at most '
            f'{self.max_files}, each at most {size_of(LARGEST)}): casvit replay '
            f'{from_here(path)} computes it again.'
        )


def _what(losses: Mapping[str, float], found: list[str]) -> str:
    """What was not finite, as a clause."""
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        return f'{", ".join(broken)} {"is" if len(broken) == 1 else "are"} not finite'
    if found:
        return f'a {found[0]} is not finite'
    return 'a number in another process is not finite'


def _images(batch: Any) -> str:
    names = list(images_in(batch))
    if not names:
        return 'the batch names no images'
    more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
    return f'images {", ".join(names[:NAMED])}{more}'


def _left(runner: Runner) -> str:
    last = latest_checkpoint(runner.work_dir)
    if last is None:
        return 'No checkpoint had been saved yet.'
    return f'The last checkpoint is {last}; --resume continues from it.'
