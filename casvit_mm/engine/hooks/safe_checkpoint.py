"""Checkpoints that a run which is killed, or goes astray, does not lose."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn

from casvit_mm.config.text import escape_braces
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in

# As written_whole names files that a process did not finish.
UNFINISHED = '.*.pth.[0-9]*'


@registered_in(HOOKS)
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, which always leaves a whole and usable checkpoint behind.

    - A checkpoint that is too many, or no longer the best, is removed once the new one is on the
      disk. mmengine removes it before: a run that is killed in between, with
      ``max_keep_ckpts=1``, has none.
    - Weights that are not finite are not saved, and replace nothing.
    - A metric that is not finite is never the best.

    :class:`casvit_mm.engine.CASViTRunner` writes each file whole or not at all, and uses this hook
    for a config that asks for ``CheckpointHook``. Arguments are those of ``CheckpointHook``.
    """

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder, and removes what an earlier run could not finish."""
        super().before_train(runner)
        if is_main_process() and '://' not in str(self.out_dir):
            for file in Path(self.out_dir).glob(UNFINISHED):
                file.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Writes the config so that its texts stay texts when it is read again."""
        meta = checkpoint.get('meta') or {}
        if isinstance(meta.get('cfg'), str):
            meta['cfg'] = escape_braces(meta['cfg'])

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if _is_usable(runner, 'checkpoint'):
            with self._removing_afterwards():
                super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if self.save_best and _is_usable(runner, 'best checkpoint'):
            with self._removing_afterwards():
                super()._save_best_checkpoint(runner, _finite(metrics, runner))

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """Removes files only once all that is to be written has been."""
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
    """A file backend that puts removals off.

    Args:
        backend: The backend that does all the work.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._wanted: list[tuple[Any, str, int | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Puts off the removal of a file."""
        self._wanted.append((self._backend.remove, path, _identity(path)))

    def rmtree(self, path: str) -> None:
        """Puts off the removal of a folder."""
        self._wanted.append((self._backend.rmtree, path, _identity(path)))

    def carry_out(self) -> None:
        """Removes what is still what it was: a path may have been written anew meanwhile."""
        for remove, path, identity in self._wanted:
            if identity == _identity(path):
                remove(path)


def _identity(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def _is_usable(runner: Runner, what: str) -> bool:
    """Whether all weights of a run's model are finite; says so if they are not."""
    if all_finite(unwrap(runner.model)):
        return True
    runner.logger.warning(
        f'No {what} is saved: the model has weights that are not finite (NaN or infinite). '
        'The one before stays.'
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
    # The sum of a tensor with a value that is not finite is not finite either; one that overflows
    # is looked at value by value.
    return all(bool(t.sum().isfinite()) or bool(t.isfinite().all()) for t in tensors)


def _finite(metrics: Mapping[str, Any], runner: Runner) -> dict[str, Any]:
    """Metrics with None, which mmengine passes over, in place of what is not finite."""
    finite = {}
    for name, value in metrics.items():
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        broken = isinstance(number, Real) and not math.isfinite(number)
        if broken:
            runner.logger.warning(f'The metric {name} is {number}: it cannot be the best.')
        finite[name] = None if broken else value
    return finite
