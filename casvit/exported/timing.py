"""Times a network in a process of its own: ``python -m casvit.exported.timing FILE INPUT THREADS``.

FILE is an exported model, and INPUT a .npy file with its input. Nothing else than its runtime is
imported, so the memory of the process is that of an application. It reads commands from its
standard input and answers each with a line of JSON after :data:`ANSWER`:

  (at the start)     {"load": seconds to import the runtime and load the file, "warm_up": seconds of
                     the first call, "device": …, "precision": what the runtime took}
  measure SECONDS    {"seconds": [time of each call]}, at least three calls
  end                {"peak_memory": bytes}, then it exits
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

ANSWER = 'casvit-timing: '
LEAST_CALLS = 3
Result = TypeVar('Result')


def serve(call: Callable[[], None], **facts: Any) -> None:
    """Answers the commands of a parent process, after a first call.

    Args:
        call: What is measured; returns nothing, since results would add to the memory.
        facts: What to say about it at the start.
    """
    start = time.perf_counter()
    call()
    answer(warm_up=time.perf_counter() - start, **facts)
    for budget in budgets():
        seconds, _ = timed(call, budget)
        answer(seconds=seconds)
    answer(peak_memory=peak_memory())


def budgets() -> Iterator[float]:
    """The seconds of each turn that the parent process asks for, until it ends this one."""
    for line in sys.stdin:
        if line.startswith('end'):
            break
        yield float(line.split()[1])


def timed(call: Callable[[], Result], budget: float) -> tuple[list[float], list[Result]]:
    """Calls a function for a turn.

    Args:
        call: The function.
        budget: Length of the turn in seconds; it has at least :data:`LEAST_CALLS` calls.

    Returns:
        The time of each call in seconds, and what it returned.
    """
    seconds: list[float] = []
    results: list[Result] = []
    begin = time.perf_counter()
    while len(seconds) < LEAST_CALLS or time.perf_counter() - begin < budget:
        start = time.perf_counter()
        results.append(call())
        seconds.append(time.perf_counter() - start)
    return seconds, results


def peak_memory() -> int:
    """Peak memory of this process in bytes; 0 if the system does not tell."""
    status = Path('/proc/self/status')
    # Not from getrusage, in which a process inherits the peak of its parent.
    if status.exists() and (peak := re.search(r'^VmHWM:\s*(\d+) kB', status.read_text(), re.M)):
        return 1024 * int(peak[1])
    return 0


def answer(**content: Any) -> None:
    """Writes a line for the parent process, which finds it among whatever libraries print."""
    print(ANSWER + json.dumps(content), flush=True)


def main() -> None:
    """Measures the file in the first argument."""
    file, images, threads = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3])
    start = time.perf_counter()
    from casvit.backends import load_backend

    # The parent has exported the file itself.
    model: Any = load_backend(file, dict(device='cpu', trust=True, threads=threads))
    load = time.perf_counter() - start

    def call() -> None:
        model.network_outputs(images)

    serve(call, load=load, device=model.device, precision=model.precision)


if __name__ == '__main__':
    main()
