"""Atomic writing of files and folders, and the cache folder for generated files."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident


@contextmanager
def written_whole(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Writes a file or folder atomically: next to its path first, then moved once it is on disk.

    If the process is interrupted, the path holds either the old content or the new, never half of
    it. Only when a folder replaces another one is the path missing for a moment; the old folder is
    next to it then, under a name that ends in ``.old``.

    Args:
        path: The file or folder to write.
        replace: Whether a folder may replace one that is not empty. A file always replaces an
            existing file.

    Yields:
        A temporary path in the same folder, at which to write the file or create the folder: the
        name with a leading dot, followed by the process and thread ids.

    Raises:
        OSError: It cannot be written, or the path is taken; existing content is unchanged.
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
    """Writes a file atomically; creates its folder if needed.

    Args:
        path: The file.
        content: The content; text is written as UTF-8.

    Raises:
        OSError: It cannot be written; existing content is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())


def is_file(path: Path) -> bool:
    """Whether a file exists; False for names that no file can have (too long, a null character)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def why_unwritable(folder: Path) -> str:
    """Why no file can be written into a folder, which need not exist yet; empty if one can."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return f'{existing} is not a folder'
    return '' if os.access(existing, os.W_OK | os.X_OK) else f'the folder {existing} is read-only'


def cache_folder() -> Path:
    """The folder in the user's cache for files that can be generated again."""
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
    """Flushes a file, or everything in a folder, to disk."""
    if not path.is_dir():
        with path.open('r+b') as file:
            os.fsync(file.fileno())
        return
    for entry in path.iterdir():
        _sync(entry)
    _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open folders, and needs no separate sync for a name.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
