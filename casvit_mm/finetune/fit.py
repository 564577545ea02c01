"""Finds the batch size of a fine-tuning that fits into the memory of this machine."""

from collections.abc import Callable
from pathlib import Path

from casvit.errors import CliError
from casvit.files import write_whole
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.memory import GIB, Fit, fit_batch, measure_run, usable_memory
from casvit_mm.finetune.plan import Plan


def fit_plan(
    plan: Plan, file: Path, wished: int | None, tell: Callable[[str], None]
) -> tuple[Plan, Fit]:
    """Finds the largest batch that fits into memory and leaves at least four steps per epoch.

    Args:
        plan: The plan.
        file: The file that the configs of short runs are written to.
        wished: Memory that may be used, in bytes; None for all that is free.
        tell: Called with a line of text about each run.

    Returns:
        The plan with that batch size, and the memory that it needs.

    Raises:
        CliError: Not even one image fits, or a short run fails for another reason.
    """
    limit = wished or usable_memory()
    largest = max(1, plan.data.splits['train'].size // 4)
    # Each process that loads images needs memory of its own.
    for workers in dict.fromkeys((plan.workers, 0)):
        tell(
            f'Looking for the largest batch that fits into {limit / GIB:.1f} GiB'
            f'{"" if workers else ", without processes that load images"} …'
        )

        def measure(size: int, workers: int = workers) -> int:
            write_whole(file, config_text(plan.with_batch(size, workers)))
            peak = measure_run(file, limit)
            tell(f'  batch size {size}: {f"{peak / GIB:.1f} GiB" if peak else "out of memory"}')
            return peak

        try:
            fit = fit_batch(measure, limit, largest)
        except RuntimeError as error:
            raise CliError(f'A short run of {file} failed: {error}') from error
        if fit is not None:
            return plan.with_batch(fit.batch_size, workers), fit
    raise CliError(
        f'Not even one image of {plan.image_size} pixels fits into {limit / GIB:.1f} GiB: '
        'choose a smaller --size or --image-size.'
    )
