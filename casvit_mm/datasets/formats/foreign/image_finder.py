"""Finds the images that annotations of other tools name, inside the dataset only."""

import os
from itertools import takewhile
from pathlib import Path, PurePosixPath

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.semantic_masks import upright_size


class ImageFinder:
    """Finds images by path, or else by name.

    Attributes:
        moved: Number of images that were found by their names without folders.

    Args:
        root: Folder of the dataset.
        listing: Its folders.
    """

    def __init__(self, root: Path, listing: list[Folder]) -> None:
        self.root = root
        self.moved = 0
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for folder in listing:
            for image in folder.images:
                path = Path(os.path.relpath(image, root))
                self._by_name.setdefault(path.name, []).append(path)
                self._by_stem.setdefault(path.stem, []).append(path)

    def find(self, path: str, wanted: str, file: Path, subset: str) -> str | None:
        """Finds an image.

        Args:
            path: The path that the library has for it.
            wanted: The name that the annotations have for it.
            file: The file of annotations, or its folder.
            subset: The subset that it belongs to.

        Returns:
            Its path relative to the dataset; that of a missing file if it is nowhere. None if it
            is outside the dataset.
        """
        # Without following links, so that a dataset may consist of links.
        inside = Path(os.path.relpath(path, self.root))
        leaves = inside.parts[:1] == (os.pardir,)
        if not leaves and is_file(self.root / inside):
            return inside.as_posix()
        parts = PurePosixPath(wanted.replace('\\', '/')).parts
        near = Path(os.path.relpath(file, self.root)).parts
        name = parts[-1] if parts else ''
        candidates = self._by_name.get(name) or self._by_stem.get(PurePosixPath(name).stem, [])
        ranks = {
            other: (
                _common(parts[::-1], other.parts[::-1]),
                subset in other.parts[:-1],
                _common(near, other.parts),
            )
            for other in candidates
        }
        best = [other for other in candidates if ranks[other] == max(ranks.values())]
        if len(best) == 1:
            self.moved += ranks[best[0]][0] < len(parts)
            return best[0].as_posix()
        return None if leaves else inside.as_posix()

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of an image as loaded; 1 and 1 if it cannot be read."""
        try:
            return upright_size(self.root / name)
        except DatasetError:
            # The audit of the images reports why.
            return 1, 1


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Number of equal parts at the start of two paths."""
    same = (first == second for first, second in zip(one, other, strict=False))
    return len(list(takewhile(bool, same)))
