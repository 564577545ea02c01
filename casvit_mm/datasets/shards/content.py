"""The files of a sharded dataset, by name: found in its index, read and verified."""

import os
import zlib
from dataclasses import dataclass

from casvit.errors import DatasetError
from casvit_mm.datasets.shards.index import FILE, LARGEST_INDEX, WHOLE, Entry, Index
from casvit_mm.datasets.shards.sources import Patience, Source, source_of

# A file that is not in a shard is read in such pieces: one that fails is read again alone.
PIECE = 1 << 25

_opened: dict[str, tuple[Patience, 'Content']] = {}


class DamagedFileError(DatasetError):
    """A file of the dataset does not match its checksum."""


@dataclass
class Content:
    """A sharded dataset.

    Attributes:
        folder: Its folder, as a local path or a URL.
        patience: How long to wait for it.
        index: Its files.
    """

    folder: str
    patience: Patience
    index: Index
    _source: Source
    _process: int

    @classmethod
    def open(cls, folder: str, patience: Patience) -> 'Content':
        """Reads the index of a dataset, once in a process and in those that are forked from it.

        Raises:
            DatasetError: There is none, or it is not valid.
        """
        known, opened = _opened.get(folder, (None, None))
        if opened is None or known != patience:
            source = source_of(folder, patience)
            index = Index(source.read_all(FILE, LARGEST_INDEX), f'{folder}/{FILE}')
            opened = cls(folder, patience, index, source, os.getpid())
            _opened[folder] = patience, opened
        return opened

    def read(self, name: str) -> bytes:
        """Reads a file and verifies its checksum.

        Raises:
            DatasetError: There is no such file, or it is damaged.
            StorageError: Its shard is missing, has another size, or cannot be read.
        """
        entry = self.index.find(name)
        if entry is None:
            raise DatasetError(f'There is no file {name!r} in the sharded dataset {self.folder}.')
        try:
            content = self._read(entry)
        except DatasetError:
            # It may have been replaced by another one in the meantime.
            _opened.pop(self.folder, None)
            raise
        if len(content) != entry.size or zlib.crc32(content) != entry.crc32:
            _opened.pop(self.folder, None)
            place = '' if entry.shard == WHOLE else f' ({self.index.shards[entry.shard].name})'
            raise DamagedFileError(
                f'{name!r} in {self.folder}{place} does not match its checksum in the index: it is '
                f'damaged, or the index does not belong to it. Copy the dataset again.'
            )
        return content

    def _read(self, entry: Entry) -> bytes:
        if self._process != os.getpid():
            # Connections belong to the process that made them.
            self._source, self._process = source_of(self.folder, self.patience), os.getpid()
        if entry.shard != WHOLE:
            shard = self.index.shards[entry.shard]
            return self._source.read(shard.name, entry.offset, entry.size, shard.size)
        pieces = [
            self._source.read(entry.name, start, min(PIECE, entry.size - start), entry.size)
            for start in range(0, entry.size, PIECE)
        ]
        return b''.join(pieces)
