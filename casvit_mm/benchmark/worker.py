"""The process that measures one case: the thread pools of several would disturb each other.

It reads commands from its standard input and answers each with a line of JSON after
:data:`ANSWER`, among whatever libraries print:

  (at the start)     {"warm_up": seconds until the first calls are done}
  measure SECONDS    {"seconds": [time of each call], "backbone": [that of the backbone in it]}, at
                     least three calls; the second list is empty if it was not measured
  end                {"peak_memory": bytes, "operators": shares of the time}, then it exits
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from casvit_mm.benchmark.cases import Case
from casvit_mm.benchmark.operators import shares
from casvit_mm.benchmark.subjects import prepare
from casvit_mm.models.optional import forget_broken_packages

ANSWER = 'casvit-bench: '
WARM_UP_CALLS = 3
LEAST_CALLS = 3


def answer(**content: Any) -> None:
    """Writes a line for the parent process."""
    print(ANSWER + json.dumps(content), flush=True)


def peak_memory() -> int:
    """Peak memory of this process in bytes; that of the GPU if it is used."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path('/proc/self/status')
    # Not from getrusage, in which a process inherits the peak of its parent.
    if status.exists() and (peak := re.search(r'^VmHWM:\s*(\d+) kB', status.read_text(), re.M)):
        return 1024 * int(peak[1])
    memory = psutil.Process().memory_info()
    return getattr(memory, 'peak_wset', memory.rss)


def main() -> None:
    """Measures the case given as JSON in the first argument, with the threads in the second."""
    case, threads = Case(**json.loads(sys.argv[1])), int(sys.argv[2])
    torch.set_num_threads(threads)
    if case.kind == 'config':
        forget_broken_packages()
    start = time.perf_counter()
    call = prepare(case)
    for _ in range(WARM_UP_CALLS):
        call()
    answer(warm_up=time.perf_counter() - start)
    for line in sys.stdin:
        if line.startswith('end'):
            break
        budget = float(line.split()[1])
        seconds: list[float] = []
        backbone: list[float] = []
        begin = time.perf_counter()
        while len(seconds) < LEAST_CALLS or time.perf_counter() - begin < budget:
            start = time.perf_counter()
            part = call()
            seconds.append(time.perf_counter() - start)
            if part is not None:
                backbone.append(part)
        answer(seconds=seconds, backbone=backbone)
    # Before profiling, which needs memory of its own.
    peak = peak_memory()
    answer(peak_memory=peak, operators=shares(call))


if __name__ == '__main__':
    main()
