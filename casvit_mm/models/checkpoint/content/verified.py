"""Reads records of an archive into memory and verifies their checksums, in two threads."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Lock
from typing import IO, NamedTuple

from casvit_mm.models.checkpoint.content.checksums import joined
from casvit_mm.models.checkpoint.content.limits import CHUNK
from casvit_mm.models.checkpoint.content.problems import DamagedError, shown

Reader = Callable[[memoryview, int], int]
"""Fills memory from a place in a file, and gives the number of bytes."""
THREADS = 2
"""Half of the time goes to the checksum, which torch.load does without."""
PIECE = 2**22
"""Bytes that a thread takes at once: a model may be one record, or ten thousand."""

POSITIONED = hasattr(os, 'preadv')
"""Whether this system reads from a place in a file without moving its position."""


class Extent(NamedTuple):
    """Where a record is, and where it goes.

    Attributes:
        name: Its name, for messages.
        start: Where its content begins in the file.
        size: Its size in bytes.
        checksum: Its CRC-32, as the archive says.
        buffer: Memory for it; may be shorter, and then gets only its first bytes.
        digest: Its SHA-256, if the archive lists it.
    """

    name: str
    start: int
    size: int
    checksum: int
    buffer: memoryview
    digest: bytes | None = None


class _Piece(NamedTuple):
    """Consecutive bytes of a record, and the places in memory that they go to, in turn."""

    extent: Extent
    start: int
    buffers: tuple[memoryview, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.buffers))

    @property
    def end(self) -> int:
        return self.start + self.size


class _Found(NamedTuple):
    """The CRC-32 of a piece, and whether its SHA-256 is the one that is expected, if any is."""

    checksum: int
    as_listed: bool


def read_verified(file: IO[bytes], extents: Iterable[Extent]) -> None:
    """Reads records into memory.

    Args:
        file: The file.
        extents: The records, in their order in the file. They may be looked up one by one: the
            first are read meanwhile.

    Raises:
        DamagedError: A record ends too early or has another checksum; the first one in the file.
    """
    if not POSITIONED:
        # Whoever finds them moves the position of the file, too.
        extents = list(extents)
    pieces: list[_Piece] = []
    read = _reader(file)
    with ThreadPoolExecutor(THREADS) as pool:
        # An error here cancels what no thread has begun.
        found = pool.map(
            lambda job: [_read(read, piece) for piece in job],
            _jobs(piece for extent in extents for piece in _pieces(extent, pieces)),
        )
        whole = 0
        for piece, result in zip(pieces, chain.from_iterable(found), strict=True):
            if result is None:
                raise DamagedError(f'its record {shown(piece.extent.name)} ends too early')
            first = piece.start == piece.extent.start
            whole = result.checksum if first else joined(whole, result.checksum, piece.size)
            last = piece.end == piece.extent.start + piece.extent.size
            if last and whole != piece.extent.checksum:
                raise DamagedError(f'the CRC-32 of its record {shown(piece.extent.name)} is wrong')
            if not result.as_listed:
                raise DamagedError(f'the SHA-256 of its record {shown(piece.extent.name)} is wrong')


def _pieces(extent: Extent, known: list[_Piece]) -> list[_Piece]:
    """The pieces of a record, which are added to those that are known."""
    rest = memoryview(bytearray(extent.size - len(extent.buffer)))
    if extent.digest is not None:
        # Unlike a CRC-32, a SHA-256 cannot be put together from those of parts.
        pieces = [_Piece(extent, extent.start, (extent.buffer, rest))]
    else:
        pieces = [
            _Piece(extent, extent.start + offset, (extent.buffer[offset : offset + PIECE],))
            for offset in range(0, len(extent.buffer), PIECE)
        ]
        if len(rest) or not extent.size:
            pieces.append(_Piece(extent, extent.start + len(extent.buffer), (rest,)))
    known += pieces
    return pieces


def _jobs(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Groups small pieces: handing them over one by one takes longer than reading them."""
    job: list[_Piece] = []
    size = 0
    for piece in pieces:
        job.append(piece)
        size += piece.size
        if size >= PIECE:
            yield job
            job, size = [], 0
    yield job


def _reader(file: IO[bytes]) -> Reader:
    """Reads into memory from a place in a file, for several threads at once."""
    if POSITIONED:
        return lambda memory, place: os.preadv(file.fileno(), [memory], place)
    lock = Lock()

    def read(memory: memoryview, place: int) -> int:
        with lock:
            file.seek(place)
            return file.readinto(memory)  # type: ignore[attr-defined]

    return read


def _read(read: Reader, piece: _Piece) -> _Found | None:
    """Reads a piece and looks at its checksums; None if the file ends before it."""
    checksum, place = 0, piece.start
    digest = None if piece.extent.digest is None else hashlib.sha256()
    for buffer in piece.buffers:
        for offset in range(0, len(buffer), CHUNK):
            chunk = buffer[offset : offset + CHUNK]
            if read(chunk, place) != len(chunk):
                return None
            place += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
            if digest is not None:
                digest.update(chunk)
    return _Found(checksum, digest is None or digest.digest() == piece.extent.digest)
