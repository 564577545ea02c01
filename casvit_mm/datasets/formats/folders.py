"""Lists the files of a dataset."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casvit.inputs.images import IMAGE_SUFFIXES

# Runs read images with OpenCV, and not every version of it reads GIF.
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
        """Its files with one of the suffixes, in upper or lower case."""
        return [self.path / name for name in self.names if Path(name).suffix.lower() in suffixes]

    @property
    def images(self) -> list[Path]:
        """Its images."""
        return self.ending_in(*IMAGES)


def folders(root: Path) -> Iterator[Folder]:
    """Yields all folders of a dataset except hidden ones, root first, in a fixed order."""
    for path, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith(('.', '__MACOSX')))
        visible = sorted(name for name in names if not name.startswith('.'))
        yield Folder(Path(path), tuple(visible))
