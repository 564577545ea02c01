"""Files from which a bad step can be computed again."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from casvit.errors import CheckpointError
from casvit.files import written_whole
from casvit_mm.config.text import escape_braces
from casvit_mm.engine.bad_steps.batch import images_in, plain, rebuilt, size_of_tensors
from casvit_mm.engine.disk.outage import size_of
from casvit_mm.engine.exact.circumstances import circumstances
from casvit_mm.engine.run_facts import precision
from casvit_mm.models.checkpoint import read_checkpoint
from casvit_mm.models.checkpoint.content.digests import add_digests
from casvit_mm.models.checkpoint.finite import is_finite
from casvit_mm.models.wrappers import unwrap

KEY = 'bad_step'
"""Key of the step in its file, which is a checkpoint otherwise."""
FOLDER = 'bad_steps'
"""The folder of these files, in the work dir."""
LARGEST = 2 * 2**30
"""Bytes that a file may have."""
LARGEST_SIDE = 2**14
"""Of an image of a batch, in pixels."""
PRECISIONS = ('fp32', 'bf16', 'fp16')


class NotStoredError(ValueError):
    """A step cannot be stored; the message is a clause that says why."""


@dataclass
class BadStep:
    """A step, and all that its numbers depend on beside the weights.

    Attributes:
        losses: What the step returned, by name.
        found: What was not finite: 'loss', 'gradient', 'weight'.
        batch: The batch as it was loaded.
        images: Files of its images.
        seed: Seed of the run, from which the random state of the step follows.
        epoch: Epochs before it.
        iteration: Steps before it.
        done: Batches before it in its epoch.
        passes: Passes over the dataset before that of the batch.
        positions: Position of each sample in this pass, over all processes; empty if not known.
        rewinds: How many times the run had gone back to an earlier checkpoint.
        rank: The process.
        rates: Learning rates, by optimiser or group.
        precision: 'fp32', 'bf16' or 'fp16'.
        is_autocast: Whether torch's autocast chose what is computed in it.
        padded_to: Height and width that the data preprocessor padded images to, which a hook may
            have changed; None if it has no such size.
        circumstances: See :func:`casvit_mm.engine.exact.circumstances.circumstances`.
    """

    losses: dict[str, float]
    found: list[str]
    batch: Any
    images: list[str]
    seed: int
    epoch: int
    iteration: int
    done: int
    passes: int
    positions: list[int]
    rewinds: int
    rank: int
    rates: dict[str, list[float]]
    precision: str
    is_autocast: bool
    padded_to: list[int] | None
    circumstances: dict[str, Any]

    @classmethod
    def of(
        cls, runner: Runner, batch: Any, losses: Mapping[str, float], found: list[str], done: int
    ) -> 'BadStep':
        """The step that a run has just computed, without an update.

        Args:
            runner: The run.
            batch: The batch as it was loaded.
            losses: What the step returned, by name.
            found: What was not finite.
            done: Batches before it in its epoch.

        Raises:
            NotPlainError: The batch holds an object that cannot be stored as plain data.
        """
        loop = runner.train_loop
        known = getattr(loop, 'batch', None)
        size = getattr(unwrap(runner.model).data_preprocessor, 'size', None)
        return cls(
            losses=dict(losses),
            found=list(found),
            batch=plain(batch),
            images=list(images_in(batch)),
            seed=int(runner.seed),
            epoch=runner.epoch,
            iteration=runner.iter,
            done=done,
            passes=known.epoch if known else 0,
            positions=list(known.positions) if known else [],
            rewinds=len(getattr(loop, 'rewinds', ())),
            rank=get_rank(),
            rates=runner.optim_wrapper.get_lr(),
            precision=precision(runner),
            is_autocast=isinstance(runner.optim_wrapper, AmpOptimWrapper),
            padded_to=None if size is None else list(size),
            circumstances=circumstances(runner),
        )

    def write(self, runner: Runner) -> Path:
        """Writes the step with the weights and buffers of now into the work dir of a run.

        Args:
            runner: The run.

        Returns:
            The file.

        Raises:
            NotStoredError: It would be too large, or the weights are not finite any more.
            OSError: It cannot be written.
        """
        weights = unwrap(runner.model).state_dict()
        if not all(map(is_finite, weights.values())):
            raise NotStoredError('the weights were not finite before it')
        needed = size_of_tensors(dict(weights)) + size_of_tensors(self.batch)
        if needed > LARGEST:
            raise NotStoredError(f'the file would have {size_of(needed)}')
        meta = dict(
            cfg=escape_braces(runner.cfg.pretty_text),
            seed=self.seed,
            epoch=self.epoch,
            iter=self.iteration,
        )
        again = f'_rewind_{self.rewinds}' if self.rewinds else ''
        path = Path(runner.work_dir, FOLDER, f'step_{self.iteration + 1}{again}.pth')
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = {name: each.cpu() for name, each in weights.items()}
        with written_whole(path) as unfinished:
            torch.save({'meta': meta, 'state_dict': weights, KEY: asdict(self)}, unfinished)
            add_digests(unfinished)
        return path


def read_bad_step(path: str | Path) -> tuple[BadStep, dict[str, Any]]:
    """Reads a file as data: nothing in it is run or imported.

    Args:
        path: The file.

    Returns:
        The step, and the content of the file as that of a checkpoint.

    Raises:
        CheckpointError: It cannot be read, or is no file of a bad step.
    """
    content = read_checkpoint(path)
    saved = content.get(KEY)
    names = {each.name for each in fields(BadStep)}
    if not isinstance(saved, dict) or set(saved) != names or not _is_valid(saved):
        raise CheckpointError(
            f'{path} is not the file of a bad step, or it is damaged: a run writes such files to '
            f'the folder {FOLDER} of its work dir.'
        )
    try:
        saved['batch'] = rebuilt(saved['batch'])
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, ImportError) as error:
        raise CheckpointError(
            f'The batch in {path} cannot be built: {type(error).__name__}: {error}.'
        ) from error
    return BadStep(**saved), content


def _is_valid(saved: dict[str, Any]) -> bool:
    names = ('seed', 'epoch', 'iteration', 'done', 'passes', 'rewinds', 'rank')
    counts = [saved[name] for name in names]
    texts = [saved['found'], saved['images']]
    return (
        isinstance(saved['positions'], list)
        and all(type(each) is int and each >= 0 for each in [*counts, *saved['positions']])
        and all(isinstance(part, list) for part in texts)
        and all(isinstance(each, str) for part in texts for each in part)
        and isinstance(saved['losses'], dict)
        and all(type(each) is float for each in saved['losses'].values())
        and all(isinstance(name, str) for name in saved['losses'])
        and isinstance(saved['circumstances'], dict)
        and isinstance(saved['rates'], dict)
        and saved['precision'] in PRECISIONS
        and type(saved['is_autocast']) is bool
        and _is_size(saved['padded_to'])
    )


def _is_size(value: Any) -> bool:
    if value is None:
        return True
    sides = value if isinstance(value, list) and len(value) == 2 else [0]
    return all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides)


def numbers_in(outputs: Mapping[str, Any]) -> dict[str, float]:
    """The losses that a step returned, as numbers.

    Args:
        outputs: What it returned, by name.
    """
    single = {
        name: value.detach() if isinstance(value, torch.Tensor) else value
        for name, value in outputs.items()
        if 'loss' in name
        if isinstance(value, (int, float)) or getattr(value, 'numel', lambda: 0)() == 1
    }
    return {name: float(value) for name, value in single.items()}


def listed(numbers: Mapping[str, float]) -> str:
    """Losses as text, those that are not finite first.

    Args:
        numbers: The losses, by name.
    """
    ordered = sorted(numbers.items(), key=lambda item: math.isfinite(item[1]))
    return ', '.join(f'{name} = {value:.6g}' for name, value in ordered)
