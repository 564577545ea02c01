"""Finds the batch size of a fine-tuning that fits into memory, and measures the time of a step."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from casvit.errors import CliError
from casvit.files import write_whole
from casvit_mm.engine.batches import why_small_batches_fail
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.memory import GIB, Fit, Measured, Trials, fit_batch, usable_memory
from casvit_mm.finetune.plan import Plan

# Without a GPU, larger batches take as much longer as they are larger.
LARGEST_ON_CPU = dict(detection=4, instance=4, semantic=8, classification=32)
LARGEST_ON_GPU = dict(detection=16, instance=16, semantic=16, classification=128)
# Seconds after which nothing more is tried.
PATIENCE = 45


def require_batch(plan: Plan, smallest: int) -> None:
    """Checks a batch size that was asked for.

    Raises:
        CliError: It cannot be trained.
    """
    if plan.batch_size < smallest:
        reason = why_small_batches_fail(Path(str(plan.base.filename)).stem, smallest)
        raise CliError(
            f'--batch-size {plan.batch_size}: {reason}: use --batch-size {smallest} or more.'
        )


def fit_plan(
    plan: Plan,
    file: Path,
    wished: int | None,
    tell: Callable[[str], None],
    smallest: int = 1,
) -> tuple[Plan, Fit, Measured]:
    """Finds the largest batch that fits into memory and leaves at least four steps per epoch.

    Args:
        plan: The plan.
        file: The file that the configs of short runs are written to.
        wished: Memory that may be used, in bytes; None for all that is free.
        tell: Called with a line of text about each run.
        smallest: The smallest batch that can be trained.

    Returns:
        The plan with that batch size, the memory that it needs, and the last run that was
        measured.

    Raises:
        CliError: Not even the smallest batch fits, or a short run fails for another reason.
    """
    limit = wished or usable_memory()
    allowed = LARGEST_ON_GPU if torch.cuda.is_available() else LARGEST_ON_CPU
    largest = min(allowed[plan.task], max(smallest, plan.data.splits['train'].size // 4))
    begun = time.monotonic()
    # Each process that loads images needs memory of its own.
    for workers in dict.fromkeys((plan.workers, 0)):
        tell(
            f'Looking for the batch size: up to {largest}, in {limit / GIB:.1f} GiB'
            f'{"" if workers else ", without processes that load images"}, a minute at most …'
        )
        runs: list[Measured] = []
        write_whole(file, config_text(plan.with_batch(smallest, workers)))
        with Trials(file, limit) as trials:

            def measure(size: int, trials: Trials = trials, runs: list[Measured] = runs) -> int:
                measured = _measured(trials, size)
                if measured is None:
                    tell(f'  batch size {size}: out of memory')
                    return 0
                runs.append(measured)
                tell(
                    f'  batch size {size}: {measured.peak / GIB:.1f} GiB, '
                    f'{measured.seconds:.2g} s a step'
                )
                return measured.peak

            def affordable(size: int, runs: list[Measured] = runs) -> bool:
                if not runs:
                    return True
                last = runs[-1]
                each = 3 * last.seconds * size / last.batch_size + 4 * last.val_seconds
                return time.monotonic() - begun + each < PATIENCE

            fit = fit_batch(measure, limit, largest, smallest, affordable)
        if fit is not None:
            chosen = [run for run in runs if run.batch_size == fit.batch_size]
            return plan.with_batch(fit.batch_size, workers), fit, (chosen or runs)[-1]
    raise CliError(
        f'Not even {"one image" if smallest == 1 else f"{smallest} images"} of {plan.image_size} '
        f'pixels fits into {limit / GIB:.1f} GiB: choose a smaller --size or --image-size.'
    )


def time_plan(plan: Plan, file: Path, wished: int | None) -> Measured:
    """Measures the time of a step with the batch size of a plan.

    Args:
        plan: The plan.
        file: The file that the config of the short run is written to.
        wished: Memory that may be used, in bytes; None for all that is free.

    Raises:
        CliError: The batch does not fit into memory, or the run fails for another reason.
    """
    limit = wished or usable_memory()
    write_whole(file, config_text(plan))
    with Trials(file, limit) as trials:
        measured = _measured(trials, plan.batch_size)
    if measured is None:
        raise CliError(
            f'--batch-size {plan.batch_size} does not fit into {limit / GIB:.1f} GiB: choose a '
            'smaller one, or leave it out to find one that fits.'
        )
    return measured


def _measured(trials: Trials, size: int) -> Measured | None:
    try:
        return trials.measure(size)
    except RuntimeError as error:
        raise CliError(f'A short run of {trials.config} failed: {error}') from error
