"""Files that are written whole or not at all, and where generated ones are kept."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Lets a file be written beside its place, and moves it there once the disk holds all of it.

    Whatever ends the process meanwhile, the place holds the old file or the new one, never a part.

    Args:
        path: The file to be.

    Yields:
        A path in the same folder to write to: the file's name with a dot before it and the number
        of the process behind it.

    Raises:
        OSError: It cannot be written; the old file is as it was.
    """
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        yield unfinished
        with unfinished.open('r+b') as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def cache_folder() -> Path:
    """The folder for what can be made again, in the user's cache."""
    if cache := os.environ.get('XDG_CACHE_HOME'):
        base = Path(cache)
    elif sys.platform == 'win32':
        base = Path(os.environ.get('LOCALAPPDATA') or Path.home() / 'AppData' / 'Local')
    elif sys.platform == 'darwin':
        base = Path.home() / 'Library' / 'Caches'
    else:
        base = Path.home() / '.cache'
    return base / 'casvit_mm'


def _sync_folder(folder: Path) -> None:
    # Windows opens no folder, and needs no sync of its own for a name.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
