"""Runs of minutes, as a person would start them, and what they logged."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def tool(name, *arguments, env=None):
    """Runs a tool; returns what it printed and the seconds it took."""
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
    """Every line that the runs in a folder logged."""
    files = sorted(Path(work_dir).rglob('scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def reached(work_dir, *metrics):
    """The values of metrics at the last validation of the runs in a folder."""
    last = [line for line in scalars(work_dir) if metrics[0] in line][-1]
    return [last[metric] for metric in metrics]


def report(capsys, text):
    """Shows a figure although the test passes."""
    with capsys.disabled():
        print(f'\n{text}')
