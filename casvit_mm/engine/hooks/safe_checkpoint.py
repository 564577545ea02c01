"""Saves checkpoints such that a killed or diverging run always leaves a usable one."""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn

from casvit.errors import UserError
from casvit_mm.config.text import escape_braces
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in

# The names that written_whole gives to files until they are complete.
UNFINISHED = '.*.pth.[0-9]*'


class MetricError(UserError, ValueError):
    """A metric has a value that it cannot use, or does not exist; the message names what does."""


@registered_in(HOOKS)
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, but always with a complete and usable checkpoint on disk.

    - A checkpoint that is no longer needed is removed only after the new one is on disk. mmengine
      removes it first: with ``max_keep_ckpts=1``, a run killed in between has none left.
    - Weights that are not finite are not saved, and never replace a checkpoint.
    - A metric that is not finite is never the best.

    :class:`casvit_mm.engine.CASViTRunner` writes each file completely or not at all, and uses this
    hook if a config asks for ``CheckpointHook``. It takes the arguments of ``CheckpointHook``.
    """

    # Set by mmengine's hook.
    file_backend: 'BaseStorageBackend | _LateRemoval'

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder, and removes unfinished files of an earlier run."""
        super().before_train(runner)
        if is_main_process() and '://' not in str(self.out_dir):
            for file in Path(self.out_dir).glob(UNFINISHED):
                file.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Escapes braces in the config, so that its strings survive when it is read again."""
        meta = checkpoint.get('meta') or {}
        if isinstance(meta.get('cfg'), str):
            meta['cfg'] = escape_braces(meta['cfg'])

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if _is_usable(runner, 'checkpoint'):
            with self._removing_afterwards():
                super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if self.save_best and _is_usable(runner, 'best checkpoint'):
            self._require_known(metrics)
            with self._removing_afterwards():
                super()._save_best_checkpoint(runner, _finite(metrics, runner))

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
    def _removing_afterwards(self) -> Iterator[None]:
        """Removes files only after everything has been written."""
        if isinstance(self.file_backend, _LateRemoval):
            yield
            return
        backend = self.file_backend
        self.file_backend = _LateRemoval(backend)
        try:
            yield
            self.file_backend.carry_out()
        finally:
            self.file_backend = backend


class _LateRemoval:
    """A file backend that postpones removals.

    Args:
        backend: The backend that does the work.
    """

    def __init__(self, backend: BaseStorageBackend) -> None:
        self._backend = backend
        self._wanted: list[tuple[Callable[[str], None], str, int | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Postpones the removal of a file."""
        self._wanted.append((self._backend.remove, path, _identity(path)))

    def rmtree(self, path: str) -> None:
        """Postpones the removal of a folder."""
        self._wanted.append((self._backend.rmtree, path, _identity(path)))

    def carry_out(self) -> None:
        """Removes the files, except for those that have been overwritten in the meantime."""
        for remove, path, identity in self._wanted:
            if identity == _identity(path):
                remove(path)


def _identity(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def _is_usable(runner: Runner, what: str) -> bool:
    """Whether all weights of a run's model are finite; logs a warning if not."""
    if all_finite(unwrap(runner.model)):
        return True
    runner.logger.warning(
        f'No {what} is saved: the model has weights that are not finite (NaN or infinite). '
        'The previous one is kept.'
    )
    return False


@torch.no_grad()
def all_finite(model: nn.Module) -> bool:
    """Whether all weights and batch norm statistics of a model are finite.

    Args:
        model: The model.
    """
    tensors: list[Tensor] = list(model.parameters())
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            tensors += [b for b in (module.running_mean, module.running_var) if b is not None]
    # If a value of a tensor is not finite, neither is their sum. A sum may also overflow, so the
    # values are then checked one by one.
    return all(bool(t.sum().isfinite()) or bool(t.isfinite().all()) for t in tensors)


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
