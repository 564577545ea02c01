"""Programs in a Python process of their own, in which nothing is imported yet."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(code: str, *arguments: object, folder: Path | None = None) -> str:
    """Runs a program, which must succeed.

    Args:
        code: The program; its lines may be indented alike.
        *arguments: Its ``sys.argv[1:]``.
        folder: Where it runs. Defaults to the current folder.

    Returns:
        What it printed.
    """
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
