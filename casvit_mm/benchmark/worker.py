"""The process that measures one case: the thread pools of several would disturb each other.

It reads commands from its standard input and answers each with a line of JSON after
:data:`casvit.exported.timing.ANSWER`, among whatever libraries print:

  (at the start)     {"warm_up": seconds until the first calls are done}
  measure SECONDS    {"seconds": [time of each call], "backbone": [that of the backbone in it]}, at
                     least three calls; the second list is empty if it was not measured
  end                {"peak_memory": bytes, "operators": shares of the time}, then it exits
"""

import importlib
import json
import sys
import time

import psutil
import torch

from casvit.exported import timing
from casvit_mm.benchmark.cases import Case
from casvit_mm.benchmark.operators import shares
from casvit_mm.benchmark.subjects import prepare
from casvit_mm.models.optional import forget_broken_packages

WARM_UP_CALLS = 3


def peak_memory() -> int:
    """Peak memory of this process in bytes; that of the GPU if it is used."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    if peak := timing.peak_memory():
        return peak
    memory = psutil.Process().memory_info()
    return getattr(memory, 'peak_wset', memory.rss)


def main() -> None:
    """Measures the case given as JSON in the first argument, with the threads in the second."""
    case, threads = Case(**json.loads(sys.argv[1])), int(sys.argv[2])
    torch.set_num_threads(threads)
    for name in case.imports:
        importlib.import_module(name)
    if case.kind == 'config':
        forget_broken_packages()
    start = time.perf_counter()
    call = prepare(case)
    for _ in range(WARM_UP_CALLS):
        call()
    timing.answer(warm_up=time.perf_counter() - start)
    for budget in timing.budgets():
        seconds, parts = timing.timed(call, budget)
        timing.answer(seconds=seconds, backbone=[part for part in parts if part is not None])
    # Before profiling, which needs memory of its own.
    peak = peak_memory()
    timing.answer(peak_memory=peak, operators=shares(call))


if __name__ == '__main__':
    main()
