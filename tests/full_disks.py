"""A small disk of its own, that tests fill."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SIZE = 256 * 2**10


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mounts a disk of 256 KiB; skips the test if this user may not."""
    folder.mkdir()
    if sys.platform != 'linux' or os.geteuid() != 0:
        pytest.skip('only root on Linux may mount a small disk')
    command = ['mount', '-t', 'tmpfs', '-o', f'size={SIZE}', 'tmpfs', str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip('this machine lets nobody mount a disk')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def fill(folder: Path, *, but: int = 0) -> Path:
    """Fills the disk of a folder up to a number of bytes; returns the file that does it."""
    file = folder / 'filler'
    with suppress(OSError), file.open('wb', buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    os.truncate(file, max(0, file.stat().st_size - but))
    return file


def make_read_only(folder: Path, wanted: bool) -> None:
    """Mounts a small disk anew, so that nobody may write to it; or everybody again."""
    mode = 'ro' if wanted else 'rw'
    subprocess.run(['mount', '-o', f'remount,{mode}', str(folder)], check=True)
