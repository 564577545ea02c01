"""Bytes of a file, never more of them than it has."""

from typing import IO

from casvit_mm.models.checkpoint.content.limits import CHUNK, TEXT_BYTES
from casvit_mm.models.checkpoint.content.problems import DamagedError


class Source:
    """Reads a part of a file, from its current position.

    Args:
        file: The file.
        size: Number of bytes in the part.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self._end = file.tell() + size
        self._read = file.read

    def take(self, count: int) -> bytes:
        """Reads exactly so many bytes.

        Raises:
            DamagedError: There are fewer.
        """
        # Python reserves the memory before it reads; a file can ask for any amount.
        if count > CHUNK and self.file.tell() + count > self._end:
            raise DamagedError('it ends too early')
        data = self._read(count)
        if len(data) != count:
            raise DamagedError('it ends too early')
        return data

    def number(self, count: int) -> int:
        """Reads a little-endian number without a sign, of so many bytes: 8 at most."""
        data = self._read(count)
        if len(data) != count:
            raise DamagedError('it ends too early')
        return int.from_bytes(data, 'little')

    def line(self) -> bytes:
        """Reads a line, without its end.

        Raises:
            DamagedError: There is no end of a line, or it is too far.
        """
        data = self.file.readline(TEXT_BYTES)
        if not data.endswith(b'\n'):
            raise DamagedError('it holds a line without an end')
        return data[:-1]

    def fill(self, buffer: memoryview) -> None:
        """Reads as many bytes as a buffer has, into it.

        Raises:
            DamagedError: There are fewer.
        """
        done = 0
        while done < len(buffer):
            count = self.file.readinto(buffer[done:])  # type: ignore[attr-defined]
            if not count:
                raise DamagedError('it ends too early')
            done += count
