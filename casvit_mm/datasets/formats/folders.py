"""Listing the files of a dataset."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casvit.inputs.images import IMAGE_SUFFIXES

# Not every OpenCV reads GIF, and it is what a run reads images with.
IMAGES = frozenset(IMAGE_SUFFIXES) - {'.gif'}


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
        """Its files with one of some endings, in any case."""
        return [self.path / name for name in self.names if Path(name).suffix.lower() in suffixes]

    @property
    def images(self) -> list[Path]:
        """Its images."""
        return self.ending_in(*IMAGES)


def folders(root: Path) -> Iterator[Folder]:
    """All folders of a dataset, hidden ones left out, the root first, in a fixed order."""
    for path, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith(('.', '__MACOSX')))
        visible = sorted(name for name in names if not name.startswith('.'))
        yield Folder(Path(path), tuple(visible))
