"""A file backend that removes files only after their successors are on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.fileio import BaseStorageBackend


class LateRemoval:
    """A file backend that postpones removals.

    Args:
        backend: The backend that does the work.
    """

    def __init__(self, backend: BaseStorageBackend) -> None:
        self.backend = backend
        self.wanted: list[tuple[Callable[[str], None], str, int | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Postpones the removal of a file."""
        self.wanted.append((self.backend.remove, path, identity(path)))

    def rmtree(self, path: str) -> None:
        """Postpones the removal of a folder."""
        self.wanted.append((self.backend.rmtree, path, identity(path)))

    def carry_out(self) -> None:
        """Removes the files, except for those that have been overwritten in the meantime.

        Raises:
            OSError: One cannot be removed; the others are.
        """
        errors = []
        for remove, path, known in self.wanted:
            if known != identity(path):
                continue
            try:
                remove(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def identity(path: str) -> int | None:
    """What tells a file from one that replaces it; None if there is none."""
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None
