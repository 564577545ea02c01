"""Runs that take minutes, started as users would, and their logs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def tool(name, *arguments, env=None):
    """Runs a tool; returns its output and its duration in seconds."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / 'tools' / f'{name}.py'), *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout + done.stderr, time.perf_counter() - begun


def scalars(work_dir):
    """All lines logged by the runs in a folder."""
    files = sorted(Path(work_dir).rglob('scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def reached(work_dir, *metrics):
    """Values of metrics in the last validation of the runs in a folder."""
    last = [line for line in scalars(work_dir) if metrics[0] in line][-1]
    return [last[metric] for metric in metrics]


def report(capsys, text):
    """Prints a text even if the test passes."""
    with capsys.disabled():
        print(f'\n{text}')
