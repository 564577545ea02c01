"""mmengine's file backend for sharded datasets."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.fileio import BaseStorageBackend, register_backend

from casvit_mm.datasets.shards.address import PREFIX, PREFIXES, split_address
from casvit_mm.datasets.shards.content import Content
from casvit_mm.datasets.shards.index import WHOLE
from casvit_mm.datasets.shards.sources import Patience


class ShardsBackend(BaseStorageBackend):
    """Reads the files of datasets that ``casvit shard`` wrote, by address.

    An address is ``shards://FOLDER.shards/NAME``, or with the protocol of another machine
    ``shards+https://HOST/FOLDER.shards/NAME``. Every file is verified by its checksum.

    Args:
        timeout (float): Seconds without any data after which a try has failed, on a web server.
            Defaults to 20.
        time_limit (float): Seconds after which a file is not tried again, and storage other than
            web servers is given up. Defaults to 120.
        tries (int): Number of tries. Defaults to 6.
        **options: Options of fsspec's file system for the protocol.
    """

    def __init__(
        self, timeout: float = 20, time_limit: float = 120, tries: int = 6, **options: Any
    ) -> None:
        self.patience = Patience(timeout, time_limit, tries, options)

    def get(self, filepath: str | Path) -> bytes:
        """Reads a file.

        Raises:
            DatasetError: It does not exist, is damaged, or cannot be read.
        """
        content, name = self._open(filepath)
        return content.read(name)

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """Reads a text file; errors as above."""
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str | Path) -> bool:
        """Whether there is such a file or folder."""
        return self.isfile(filepath) or self.isdir(filepath)

    def isfile(self, filepath: str | Path) -> bool:
        """Whether there is such a file."""
        content, name = self._open(filepath)
        return content.index.find(name) is not None

    def isdir(self, filepath: str | Path) -> bool:
        """Whether there is such a folder."""
        content, name = self._open(filepath)
        return not name or next(content.index.below(name), None) is not None

    def join_path(self, filepath: str | Path, *filepaths: str | Path) -> str:
        """Joins an address and names, with slashes on every system."""
        parts = [str(filepath).rstrip('/\\'), *(str(part).strip('/\\') for part in filepaths)]
        return '/'.join(filter(None, parts))

    @contextmanager
    def get_local_path(self, filepath: str | Path) -> Iterator[str]:
        """Yields the path of a file on this machine, which may be a copy for the time being."""
        content, name = self._open(filepath)
        entry = content.index.find(name)
        read = content.read(name)
        if entry and entry.shard == WHOLE and '://' not in content.folder:
            yield str(Path(content.folder, name))
            return
        with tempfile.TemporaryDirectory() as folder:
            # Readers tell formats by the ending.
            copy = Path(folder, f'copy{Path(name).suffix}')
            copy.write_bytes(read)
            del read
            yield str(copy)

    def list_dir_or_file(
        self,
        dir_path: str | Path,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """Yields names in a folder, relative to it, as mmengine's ``LocalBackend`` does."""
        if list_dir and suffix is not None:
            raise TypeError('`suffix` should be None when `list_dir` is True')
        content, folder = self._open(dir_path)
        seen: set[str] = set()
        for entry in content.index.below(folder):
            name = entry.name[len(folder) + 1 :] if folder else entry.name
            parts = name.split('/')
            for end in range(1, len(parts) if recursive else min(2, len(parts))):
                inner = '/'.join(parts[:end])
                if list_dir and inner not in seen:
                    seen.add(inner)
                    yield inner
            fits = suffix is None or name.endswith(suffix)
            if list_file and fits and (recursive or len(parts) == 1):
                yield name

    def _open(self, address: str | Path) -> tuple[Content, str]:
        folder, name = split_address(str(address))
        return Content.open(folder, self.patience), name


def shards_of(dataset: Mapping[str, Any]) -> ShardsBackend:
    """The backend that reads the files of a dataset, with its options in the config."""
    options = dict(dataset.get('backend_args') or {})
    options.pop('backend', None)
    return ShardsBackend(**options)


def register_backend_of_shards() -> None:
    """Registers the backend as ``shards`` and for its prefixes; a second call changes nothing."""
    register_backend(PREFIX, ShardsBackend, force=True, prefixes=list(PREFIXES))
