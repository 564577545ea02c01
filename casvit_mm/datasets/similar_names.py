"""Finds files whose names differ from the wanted ones only in how they are written."""

import unicodedata
from pathlib import Path
from urllib.parse import unquote

from casvit.files import is_file


class SimilarNames:
    """Finds files by names that differ in case, Unicode form or percent-encoding (``%20``).

    Each folder is listed once.
    """

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, path: Path) -> Path | None:
        """Finds the file that a path probably means.

        Args:
            path: A path, of which any part may be written differently.

        Returns:
            The path of the only such file, or None.
        """
        found = self._find(path)
        return found if found is not None and is_file(found) else None

    def _find(self, path: Path) -> Path | None:
        parent = path.parent
        if parent == path or not path.name:
            return path
        if not parent.is_dir():
            similar = self._find(parent)
            if similar is None:
                return None
            parent = similar
        names = self._names(parent).get(_plain(path.name), [])
        if path.name in names:
            return parent / path.name
        return parent / names[0] if len(names) == 1 else None

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                for path in folder.iterdir():
                    names.setdefault(_plain(path.name), []).append(path.name)
            except (OSError, ValueError):
                pass
            self._listed[folder] = names
        return self._listed[folder]


def _plain(name: str) -> str:
    return unicodedata.normalize('NFC', unquote(name)).casefold()
