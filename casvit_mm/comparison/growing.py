"""Times a model with images of several sizes in one process, the sizes taking turns.

``python -m casvit_mm.comparison.growing CASES THREADS``, where CASES is a list of the settings of
:class:`casvit_mm.benchmark.cases.Case`, as JSON. It speaks the protocol of
:mod:`casvit.exported.timing`, with lists that have a place for each case:

  (at the start)     {"failures": [why it cannot be measured, or null]}
  measure SECONDS    {"seconds": [[time of each call], …]}, none for a case that failed
  end                {}, then it exits
"""

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from casvit.exported import timing
from casvit.sentences import first_line
from casvit.terminal.progress import Progress
from casvit_mm.benchmark.cases import Case
from casvit_mm.benchmark.growth import growth
from casvit_mm.benchmark.measure import MeasuringProcess, spread
from casvit_mm.benchmark.subjects import prepare

WARM_UP_CALLS = 2


def measure_growth(
    label: str, cases: Sequence[Case], *, threads: int, turns: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Measures how the time of a model grows with its images.

    Args:
        label: The model, for messages.
        cases: Its cases, of several image sizes and parts.
        threads: Number of threads.
        turns: Number of turns of each case.
        seconds: Length of a turn.

    Returns:
        By part: under ``seconds`` a series of :func:`casvit_mm.benchmark.growth.growth`, or None if
        fewer than three sizes could be measured; under ``failures`` the settings of cases that
        could not be, with the ``reason``.

    Raises:
        BenchmarkError: The process ends before it is asked to.
    """
    settings = json.dumps([asdict(case) for case in cases])
    with Progress(total=turns, unit='turn', desc=f'{label}: growth') as bar:
        process = MeasuringProcess(label, __name__, [settings], threads)
        try:
            answers = []
            for _ in range(turns):
                answers.append(process.turn(seconds)['seconds'])
                bar.update()
            process.end()
        finally:
            process.close()
    rows = [
        {**asdict(case), 'label': case.label, 'name': case.name, 'reason': reason}
        for case, reason in zip(cases, process.ready['failures'], strict=True)
    ]
    for row, *times in zip(rows, *answers, strict=True):
        if row['reason'] is None:
            # The fastest call of a turn is the least disturbed one; there is nothing to compare it
            # with in neighbouring turns.
            row['seconds'] = spread([min(turn) for turn in times])
    return {
        part: {
            'seconds': next(iter(growth([row for row in rows if _is_measured(row, part)])), None),
            'failures': [row for row in rows if row['part'] == part and row['reason'] is not None],
        }
        for part in dict.fromkeys(case.part for case in cases)
    }


def _is_measured(row: dict[str, Any], part: str) -> bool:
    return row['part'] == part and 'seconds' in row


def main() -> None:
    """Measures the cases given as JSON in the first argument, with the threads in the second."""
    cases = [Case(**settings) for settings in json.loads(sys.argv[1])]
    torch.set_num_threads(int(sys.argv[2]))
    for name in cases[0].imports:
        importlib.import_module(name)
    calls: list[Any] = []
    failures: list[str | None] = []
    for case in cases:
        try:
            call = prepare(case)
            for _ in range(WARM_UP_CALLS):
                call()
        # The largest images may need more memory than there is.
        except RuntimeError as error:
            calls.append(None)
            failures.append(first_line(error))
        else:
            calls.append(call)
            failures.append(None)
    timing.answer(failures=failures)
    for budget in timing.budgets():
        timing.answer(seconds=[timing.timed(call, budget)[0] if call else [] for call in calls])
    timing.answer()


if __name__ == '__main__':
    main()
