"""Reads the text files of a dataset: of bounded size, in any common encoding."""

from pathlib import Path

from casvit.encodings import decode
from casvit.files import is_file
from casvit.sentences import count_of

LARGEST = 2**26


class TextFiles:
    """Reads text files, and remembers those that are not plain UTF-8."""

    def __init__(self) -> None:
        self._encoded: dict[str, dict[Path, None]] = {}

    def read(self, path: Path, largest: int = LARGEST) -> str:
        """Reads a file.

        Args:
            path: The file.
            largest: Its largest size in bytes.

        Raises:
            ValueError: It cannot be read; the message completes the name of the file.
        """
        text, encoding = decode(self.content(path, largest))
        self.remember(path, encoding)
        return text

    def content(self, path: Path, largest: int = LARGEST) -> bytes:
        """Reads the bytes of a file; see :meth:`read`."""
        try:
            if not is_file(path):
                raise ValueError('is not a file')
            if path.stat().st_size > largest:
                raise ValueError(f'is larger than {largest >> 20} MiB, too large for such a file')
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f'cannot be read: {error.strerror or error}') from error

    def remember(self, path: Path, encoding: str) -> None:
        """Remembers the display name of the encoding of a file; '' for plain UTF-8."""
        if encoding:
            self._encoded.setdefault(encoding, {})[path] = None

    def notes(self) -> list[str]:
        """Says which files were read in which encoding."""
        found = []
        for encoding, paths in self._encoded.items():
            first = next(iter(paths))
            if len(paths) == 1:
                found.append(f'{first} was read as {encoding}.')
            else:
                number = count_of(len(paths), 'file')
                found.append(f'{number} were read as {encoding}, such as {first}.')
        return found
