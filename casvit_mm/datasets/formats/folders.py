"""Lists the files of a dataset."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casvit.errors import DatasetError
from casvit.inputs.images import IMAGE_SUFFIXES

IMAGES = frozenset(IMAGE_SUFFIXES)
# How names start that are hidden, or that systems add: previews, the recycle bin.
HIDDEN = ('.', '__MACOSX', '@eaDir', '$RECYCLE')
# How often a folder is listed if several links lead to it: links of links multiply.
MOST_LISTED = 4


@dataclass(frozen=True)
class Folder:
    """A folder and the files in it.

    Attributes:
        path: The folder.
        names: Names of its files, sorted.
    """

    path: Path
    names: tuple[str, ...]

    def ending_in(self, *suffixes: str) -> list[Path]:
        """Its files with one of the suffixes, in upper or lower case."""
        return [self.path / name for name in self.names if Path(name).suffix.lower() in suffixes]

    @property
    def images(self) -> list[Path]:
        """Its images."""
        return self.ending_in(*IMAGES)


def folders(root: Path) -> Iterator[Folder]:
    """Yields all folders of a dataset except hidden ones, root first, in a fixed order.

    Only regular files are listed: opening a pipe or a device may never end. Links are followed,
    except to a folder that the link lies in.

    Raises:
        DatasetError: A folder cannot be read.
    """
    listed: Counter[tuple[int, int]] = Counter()
    try:
        waiting = [(root, frozenset(map(_identity, root.resolve().parents)))]
        while waiting:
            path, above = waiting.pop()
            identity = _identity(path)
            if identity in above or listed[identity] == MOST_LISTED:
                continue
            listed[identity] += 1
            inner, names = _entries(path)
            yield Folder(path, tuple(names))
            waiting += [(path / name, above | {identity}) for name in reversed(inner)]
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(
            f'The folder {error.filename or root} cannot be read: {reason}.'
        ) from error


def inside(root: Path, path: Path) -> Path | None:
    """A path without ``..`` that starts with a folder; None if it leads out of that folder.

    Links are not followed: they may lead anywhere.
    """
    base, plain = (Path(os.path.normpath(place.absolute())) for place in (root, path))
    return root / plain.relative_to(base) if plain.is_relative_to(base) else None


def lies_in(path: Path, *places: Path) -> bool:
    """Whether a path leads into one of some folders. Links are not followed, as above."""
    plain, *bases = (os.path.normpath(each.absolute()) for each in (path, *places))
    return any(plain.startswith(base.rstrip(os.sep) + os.sep) for base in bases)


def _entries(path: Path) -> tuple[list[str], list[str]]:
    """The names of the folders and of the regular files in a folder, sorted."""
    inner, names = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(HIDDEN):
                continue
            try:
                if entry.is_dir():
                    inner.append(entry.name)
                elif entry.is_file():
                    names.append(entry.name)
            except OSError:
                # A link that leads to itself.
                continue
    return sorted(inner), sorted(names)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
