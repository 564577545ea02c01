"""Fits a plan to the memory of this machine."""

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
    """Finds the largest batch that fits into memory, of which an epoch still has some steps.

    Args:
        plan: The plan.
        file: Where the configs of short runs are written.
        wished: Memory that may be used, in bytes; None for what is free.
        tell: Is given a line on each run.

    Returns:
        The plan with that batch, and what it needs.

    Raises:
        CliError: Not even one image fits, or a short run fails for another reason.
    """
    limit = wished or usable_memory()
    largest = max(1, plan.data.splits['train'].size // 4)
    # Processes that load pictures cost memory of their own.
    for workers in dict.fromkeys((plan.workers, 0)):
        tell(
            f'Looking for the batch that fits into {limit / GIB:.1f} GiB'
            f'{"" if workers else ", without processes that load pictures"} …'
        )

        def measure(size: int, workers: int = workers) -> int:
            write_whole(file, config_text(plan.with_batch(size, workers)))
            peak = measure_run(file, limit)
            tell(f'  {size} at once: {f"{peak / GIB:.1f} GiB" if peak else "too much"}')
            return peak

        try:
            fit = fit_batch(measure, limit, largest)
        except RuntimeError as error:
            raise CliError(f'A short run of {file} failed: {error}') from error
        if fit is not None:
            return plan.with_batch(fit.batch_size, workers), fit
    raise CliError(
        f'Not even one picture of {plan.image_size} pixels fits into {limit / GIB:.1f} GiB: '
        'a smaller --size or --image-size needs less.'
    )
