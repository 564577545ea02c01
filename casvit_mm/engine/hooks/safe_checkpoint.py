"""Saves checkpoints such that a run always leaves a usable one, whatever ends it."""

import difflib
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, FlexibleRunner, Runner
from torch import Tensor

from casvit.errors import CheckpointError, UserError
from casvit.sentences import reason_of
from casvit_mm.config.text import escape_braces
from casvit_mm.engine.checkpoints import NOTE, RECENT, note_checkpoint
from casvit_mm.engine.disk.outage import not_written
from casvit_mm.engine.hooks.late_removal import LateRemoval, identity
from casvit_mm.models.checkpoint.finite import all_finite
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in

# The names that written_whole gives to files until they are complete.
UNFINISHED = ('.*.pth.[0-9]*', '.last_checkpoint.[0-9]*')
ON_ERROR = ('warn', 'stop')
KNOWN = ('keep_ckpt_ids', 'last_ckpt', 'best_ckpt_path', 'best_ckpt_path_dict')


class _Attempt:
    """Whether something could be written; known after the context of the attempt."""

    succeeded = False


class MetricError(UserError, ValueError):
    """A metric has a value that it cannot use, or does not exist; the message names what does."""


@registered_in(HOOKS)
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, but always with a complete and usable checkpoint on disk.

    - A checkpoint that is no longer needed is removed only after the new one is on disk. mmengine
      removes it first: with ``max_keep_ckpts=1``, a run killed in between has none left.
    - Between the regular checkpoints, ``recent.pth`` in the work dir is written anew now and then,
      and before every validation. ``max_keep_ckpts`` does not count it.
    - A checkpoint that cannot be written, as the disk is full, stops no run and costs no older one.
    - Weights that are not finite are not saved, and never replace a checkpoint.
    - A metric that is not finite is never the best.

    :class:`casvit_mm.engine.CASViTRunner` writes each file completely or not at all, and uses this
    hook if a config asks for ``CheckpointHook``. It takes the arguments of ``CheckpointHook``, and:

    Args:
        every_minutes (float, optional): Minutes without a checkpoint after which ``recent.pth`` is
            written, at the next iteration. Defaults to None, never.
        every_iters (int, optional): Iterations after which it is written. Defaults to None.
        before_val (bool): Whether it is written before a validation, unless a checkpoint has just
            been. Defaults to True.
        on_error (str): What happens if a file cannot be written: ``'warn'``, the run goes on and
            tries again at the next checkpoint; or ``'stop'``. Defaults to 'warn'.

    Attributes:
        unsaved: A sentence about the last checkpoint if it could not be written; else ''.
    """

    # Set by mmengine's hook.
    file_backend: BaseStorageBackend | LateRemoval

    def __init__(
        self,
        *args: Any,
        every_minutes: float | None = None,
        every_iters: int | None = None,
        before_val: bool = True,
        on_error: str = 'warn',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, value in (('every_minutes', every_minutes), ('every_iters', every_iters)):
            if value is not None and not value > 0:
                raise ValueError(f'{name}={value}: expected a number above 0, or None')
        if on_error not in ON_ERROR:
            raise ValueError(f'on_error={on_error!r}: expected {" or ".join(map(repr, ON_ERROR))}')
        self.every_minutes, self.every_iters = every_minutes, every_iters
        self.saves_before_val, self.on_error = before_val, on_error
        self.unsaved = ''
        self._is_training = self._chooses_best = False
        self._updated: tuple[int, dict] | None = None
        """A checkpoint to write again after the validation, and its ``meta``."""
        self._done = (0, 0)
        """Epochs and iterations that are behind the run."""
        self._tried = -1
        """Iterations that were behind it when it last wrote a checkpoint, or tried to."""
        self._tried_at = 0.0

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder, and removes unfinished files of an earlier run."""
        super().before_train(runner)
        self._is_training, self._done = True, (runner.epoch, runner.iter)
        self._tried, self._tried_at = runner.iter, time.monotonic()
        if not is_main_process():
            return
        for folder in {str(self.out_dir), runner.work_dir}:
            for pattern in UNFINISHED if '://' not in folder else ():
                for file in Path(folder).glob(pattern):
                    with suppress(OSError):
                        file.unlink()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Saves what is due after an iteration."""
        self._done = (runner.epoch, runner.iter + 1)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        # At the end of an epoch, its own checkpoint comes next.
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if not (by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx)):
            self._save_recent_if_due(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Saves what is due after an epoch."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._done = (runner.epoch + 1, runner.iter)
        super().after_train_epoch(runner)
        self._save_recent_if_due(runner)

    def before_val(self, runner: Runner) -> None:
        """Saves the weights that are validated: a validation may take long, or fail."""
        if self._is_training and self.saves_before_val and self._tried != self._done[1]:
            self.save_recent(runner)

    def after_val(self, runner: Runner) -> None:
        """Writes the newest checkpoint again if it lacks what the validation has found."""
        if self._updated is not None:
            step, meta = self._updated
            self._updated = None
            self._save_checkpoint_with_step(runner, step, meta)

    def after_train(self, runner: Runner) -> None:
        """Publishes checkpoints if that is asked for, and tries again to save what is not saved."""
        if self.unsaved:
            self.save_recent(runner)
        with self._attempt(runner, 'the published checkpoint', last=False):
            super().after_train(runner)
        self._is_training = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Escapes braces in the config, so that its strings survive when it is read again."""
        meta = checkpoint.get('meta') or {}
        if isinstance(meta.get('cfg'), str):
            meta['cfg'] = escape_braces(meta['cfg'])

    def save_recent(self, runner: Runner) -> bool:
        """Writes ``recent.pth``, now, between two iterations or in a hook.

        It can be resumed from like any other checkpoint. Its ``meta`` has the epochs and the
        iterations that are behind the run, also in the middle of an epoch.

        Args:
            runner: The runner, while it trains.

        Returns:
            Whether it was written.

        Raises:
            CheckpointError: It cannot be written, and ``on_error`` is 'stop'.
        """
        self._tried, self._tried_at = self._done[1], time.monotonic()
        if not _is_usable(runner, 'checkpoint'):
            return False
        epoch, iteration = self._done
        with self._attempt(runner, f'the checkpoint {RECENT}', runner.work_dir) as attempt:
            runner.save_checkpoint(
                runner.work_dir,
                RECENT,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=dict(epoch=epoch, iter=iteration),
                by_epoch=False,
                **self.args,
            )
        if attempt.succeeded:
            self._note(runner, str(Path(runner.work_dir, RECENT)))
        return attempt.succeeded

    def after_rewind(self, runner: Runner) -> None:
        """Knows of the checkpoints that a run knew of where it went back to."""
        self.last_ckpt, self._updated, self.unsaved = None, None, ''
        self._done = (runner.epoch, runner.iter)
        self._tried, self._tried_at = runner.iter, time.monotonic()
        info = runner.message_hub.runtime_info
        if hasattr(self, 'keep_ckpt_ids'):
            self.keep_ckpt_ids = deque(info.get('keep_ckpt_ids', []), self.max_keep_ckpts)
        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path = info.get('best_ckpt')
        for name in getattr(self, 'best_ckpt_path_dict', {}):
            self.best_ckpt_path_dict[name] = info.get(f'best_ckpt_{name}')

    def _save_recent_if_due(self, runner: Runner) -> None:
        iteration = self._done[1]
        due = self.every_iters is not None and iteration % self.every_iters == 0
        if self._tried != iteration and (due or self._is_late(runner)):
            self.save_recent(runner)

    def _is_late(self, runner: Runner) -> bool:
        """Whether the last checkpoint is too many minutes ago."""
        if self.every_minutes is None:
            return False
        late = time.monotonic() - self._tried_at >= 60 * self.every_minutes
        if isinstance(runner, FlexibleRunner):
            # Its processes save together, and their clocks differ.
            told = torch.tensor(float(late))
            broadcast(told)
            late = bool(told)
        return late

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self._chooses_best:
            # Hooks that come later in the validation have not seen its result.
            self._updated = step, meta
            return
        if not _is_usable(runner, 'checkpoint'):
            return
        name = self.filename_tmpl.format(step)
        target = self.file_backend.join_path(self.out_dir, name)
        before = identity(target)
        with self._removing_afterwards(runner) as removals:
            wanted = list(removals.wanted)
            with self._attempt(runner, f'the checkpoint {name}') as attempt:
                try:
                    super()._save_checkpoint_with_step(runner, step, meta)
                except OSError:
                    # mmengine then writes last_checkpoint: the checkpoint itself may be there.
                    if identity(target) in (before, None):
                        raise
            if attempt.succeeded:
                self._note(runner, target)
            else:
                removals.wanted[:] = wanted

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if self.save_best and _is_usable(runner, 'best checkpoint'):
            self._require_known(metrics)
            with self._removing_afterwards(runner) as removals:
                self._chooses_best = True
                with self._attempt(runner, 'the best checkpoint', last=False) as attempt:
                    super()._save_best_checkpoint(runner, _finite(metrics, runner))
                self._chooses_best = False
                if not attempt.succeeded:
                    removals.wanted.clear()

    def _require_known(self, metrics: Mapping[str, Any]) -> None:
        """Checks that the metrics by which the best checkpoint is chosen exist.

        Raises:
            MetricError: One does not.
        """
        for name in getattr(self, 'key_indicators', ()):
            if metrics and name != 'auto' and name not in metrics:
                near = difflib.get_close_matches(str(name), metrics, n=1, cutoff=0.3)
                raise MetricError(
                    f'default_hooks.checkpoint.save_best is {name!r}, but the validation gives '
                    f'{", ".join(map(repr, metrics))}.'
                    + (f' Did you mean {near[0]!r}?' if near else '')
                )

    @contextmanager
    def _removing_afterwards(self, runner: Runner) -> Iterator[LateRemoval]:
        """Removes files only after everything has been written."""
        if isinstance(self.file_backend, LateRemoval):
            yield self.file_backend
            return
        backend = self.file_backend
        self.file_backend = removals = LateRemoval(backend)
        try:
            yield removals
        finally:
            self.file_backend = backend
        try:
            removals.carry_out()
        except OSError as error:
            runner.logger.warning(
                f'The old checkpoint {error.filename} cannot be removed: {reason_of(error)}.'
            )

    @contextmanager
    def _attempt(
        self, runner: Runner, what: str, folder: str | Path | None = None, *, last: bool = True
    ) -> Iterator[_Attempt]:
        """Context in which files are written; if that fails, the run knows nothing of them.

        Args:
            runner: The runner.
            what: What is written, for messages.
            folder: Where; the folder of the checkpoints if None.
            last: Whether it is the last checkpoint of the run from then on.
        """
        attempt, known = _Attempt(), self._known(runner)
        if last:
            # A failure is not repeated at once, nor at every iteration.
            self._tried, self._tried_at = self._done[1], time.monotonic()
        try:
            yield attempt
        except OSError as error:
            self._forget(runner, known)
            reason = not_written(what, folder or self.out_dir, error, _size(runner))
            self._tell(runner, reason, error)
            if last:
                self.unsaved = reason
            return
        attempt.succeeded = True
        if last:
            self.unsaved = ''

    def _tell(self, runner: Runner, reason: str, error: OSError) -> None:
        sentence = f'{reason[0].upper()}{reason[1:]}.'
        if self.on_error == 'stop':
            raise CheckpointError(
                f'{sentence} The run stops, as default_hooks.checkpoint.on_error asks for; '
                '--resume continues it from the checkpoint before.'
            ) from error
        runner.logger.warning(f'{sentence[:-1]}: the run goes on, and tries again with the next.')

    def _note(self, runner: Runner, checkpoint: str) -> None:
        """Notes the last checkpoint, by a path from the work dir: the folder may be moved."""
        if not is_main_process():
            return
        try:
            note_checkpoint(runner.work_dir, checkpoint)
        except OSError as error:
            self._tell(runner, not_written(NOTE, runner.work_dir, error), error)

    def _known(self, runner: Runner) -> dict[str, Any]:
        """What the hook and the message hub know of checkpoints."""
        kept = {name: getattr(self, name) for name in KNOWN if hasattr(self, name)}
        if isinstance(kept.get('keep_ckpt_ids'), deque):
            kept['keep_ckpt_ids'] = kept['keep_ckpt_ids'].copy()
        if 'best_ckpt_path_dict' in kept:
            kept['best_ckpt_path_dict'] = dict(kept['best_ckpt_path_dict'])
        return dict(kept=kept, info=dict(runner.message_hub.runtime_info))

    def _forget(self, runner: Runner, known: dict[str, Any]) -> None:
        for name, value in known['kept'].items():
            setattr(self, name, value)
        info = runner.message_hub.runtime_info
        info.clear()
        info.update(known['info'])


def _is_usable(runner: Runner, what: str) -> bool:
    """Whether all weights of a run's model are finite; logs a warning if not."""
    if all_finite(unwrap(runner.model)):
        return True
    runner.logger.warning(
        f'No {what} is saved: the model has weights that are not finite (NaN or infinite). '
        'The previous one is kept.'
    )
    return False


def _size(runner: Runner) -> int:
    """About how many bytes a checkpoint takes: weights, and the state of the optimiser."""
    tensors = list(unwrap(runner.model).state_dict().values())
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    for state in getattr(optimizer, 'state', {}).values():
        tensors += state.values()
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


def _finite(metrics: Mapping[str, Any], runner: Runner) -> dict[str, Any]:
    """Replaces metrics that are not finite with None, which mmengine skips."""
    finite = {}
    for name, value in metrics.items():
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        broken = isinstance(number, Real) and not math.isfinite(number)
        if broken:
            runner.logger.warning(f'The metric {name} is {number}: it cannot be the best.')
        finite[name] = None if broken else value
    return finite
