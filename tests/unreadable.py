"""Files and folders that no program can read, whoever runs it: permissions do not stop root."""

import os
from pathlib import Path

import pytest

MEMORY = Path('/proc/self/mem')
needs_linux = pytest.mark.skipif(not MEMORY.exists(), reason='Linux has a file that fails')


def unreadable_file(path: Path) -> Path:
    """Makes a file that opens, but whose content is an input/output error, as on a bad disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(MEMORY)
    return path


def unreadable_folder(path: Path) -> Path:
    """Makes a folder with folders in it whose paths become longer than the system allows."""
    path.mkdir(parents=True)
    handle = os.open(path, os.O_RDONLY)
    for _ in range(21):
        os.mkdir('n' * 200, dir_fd=handle)
        inner = os.open('n' * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    return path
