"""Files and folders that are written whole or not at all, and where generated ones are kept."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident


@contextmanager
def written_whole(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Lets a file or folder be written beside its place, and moves it there once the disk has it.

    Whatever ends the process meanwhile, the place holds what it held or what is new, never a part.
    Only a folder that takes another one's place leaves it empty for a moment; the old one lies
    beside it then, under a name that ends in ``.old``.

    Args:
        path: The file or folder to be.
        replace: Whether a folder may take the place of one that holds something. A file takes the
            place of another in any case.

    Yields:
        A path beside it, at which to write a file or make a folder: the name with a dot before it
        and the numbers of process and thread behind it.

    Raises:
        OSError: It cannot be written, or the place is taken; what is there is as it was.
    """
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}-{get_ident()}')
    try:
        yield unfinished
        _sync(unfinished)
        if unfinished.is_dir() and path.is_dir():
            _replace_folder(unfinished, path, replace=replace)
        else:
            unfinished.replace(path)
        _sync_folder(path.parent)
    finally:
        _remove(unfinished)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all; its folder is made if it is not there.

    Args:
        path: The file.
        content: Text is written as UTF-8.

    Raises:
        OSError: It cannot be written; what is there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())


def is_file(path: Path) -> bool:
    """Whether a file is there; not if no file can have the name, for its length or a null in it."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


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


def _replace_folder(new: Path, place: Path, *, replace: bool) -> None:
    if not replace or not any(place.iterdir()):
        place.rmdir()
        new.rename(place)
        return
    old = new.with_name(f'{new.name}.old')
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def _sync(path: Path) -> None:
    """Has the disk hold a file, or all that is in a folder."""
    if not path.is_dir():
        with path.open('r+b') as file:
            os.fsync(file.fileno())
        return
    for entry in path.iterdir():
        _sync(entry)
    _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    # Windows opens no folder, and needs no sync of its own for a name.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
