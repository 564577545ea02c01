"""Runs programs in a new Python process, in which nothing is imported yet."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(code: str, *arguments: object, folder: Path | None = None) -> str:
    """Runs a program, which must succeed.

    Args:
        code: The program; it may be indented.
        *arguments: Its ``sys.argv[1:]``.
        folder: Working directory. Defaults to the current folder.

    Returns:
        Its output.
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
