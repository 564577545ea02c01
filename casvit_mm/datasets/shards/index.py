"""The index of a sharded dataset: where each file is, how long it is, and its checksum.

JSON lines in UTF-8, each a list or object without spaces, which end with a line feed::

    {"format":"casvit shards","version":1,"files":N,"shards":[["images-00000.tar",SIZE,SHA256],…]}
    [NAME,SHARD,OFFSET,SIZE,CRC32]
    {"sha256":DIGEST}

The files are sorted by the bytes of their names. SHARD counts from 0, and OFFSET is the position of
the content in the shard, in bytes; a file that is not in a shard, such as an annotation file, has
-1 and 0 there. The last line holds the SHA-256 of all lines before it.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from casvit.errors import DatasetError
from casvit_mm.datasets.shards.address import name_issue

FILE = 'index.jsonl'
FORMAT = 'casvit shards'
VERSION = 1
# Some ten million files.
LARGEST_INDEX = 1 << 30
LARGEST_FILE = 1 << 31
BLOCK = 512
WHOLE = -1


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Attributes:
        name: Its name in the folder.
        size: Its size in bytes.
        sha256: Hexadecimal SHA-256 of its content.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A file of the dataset.

    Attributes:
        name: Its path in the dataset, with slashes.
        shard: Number of its shard; -1 if it is a file of its own.
        offset: Position of its content in the shard, in bytes.
        size: Its size in bytes.
        crc32: CRC-32 of its content.
    """

    name: str
    shard: int
    offset: int
    size: int
    crc32: int


class Index:
    """The files of a sharded dataset.

    The lines stay text in one piece, which processes share after a fork, and are searched by
    bisection: objects for a million files would take half a gigabyte in each process.

    Args:
        content: The content of the file.
        where: Its address, for messages.

    Raises:
        DatasetError: It is not an index, or not a whole one; a name, offset or size in it is not
            allowed.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self._where, self._content = where, content
        if len(content) > LARGEST_INDEX:
            raise self._wrong(f'is larger than {LARGEST_INDEX:,} bytes')
        ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord('\n'))
        if len(ends) < 2 or not content.endswith(b'\n'):
            raise self._wrong('is not whole: lines are missing')
        self._starts = np.concatenate(([0], ends + 1))
        self.shards = self._read_head(len(ends) - 2)
        body = int(self._starts[-2])
        if self._parsed(len(ends) - 1) != {'sha256': hashlib.sha256(content[:body]).hexdigest()}:
            raise self._wrong('does not match its own SHA-256')
        self._check_entries()

    def __len__(self) -> int:
        return len(self._starts) - 3

    def __iter__(self) -> Iterator[Entry]:
        return (self._entry(number) for number in range(len(self)))

    def find(self, name: str) -> Entry | None:
        """The file of a name; None if there is none."""
        number = self._place(name)
        if number < len(self) and (entry := self._entry(number)).name == name:
            return entry
        return None

    def below(self, folder: str) -> Iterator[Entry]:
        """Yields the files in a folder and those in it, sorted; the folder is empty for all."""
        start = f'{folder}/' if folder else ''
        for number in range(self._place(start), len(self)):
            entry = self._entry(number)
            if not entry.name.startswith(start):
                return
            yield entry

    def _place(self, name: str) -> int:
        key = name.encode()
        return bisect_left(range(len(self)), key, key=lambda i: self._entry(i).name.encode())

    def _entry(self, number: int) -> Entry:
        return Entry(*self._parsed(number + 1))

    def _parsed(self, line: int) -> Any:
        text = self._content[self._starts[line] : self._starts[line + 1]]
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._wrong(f'is not valid in line {line + 1}') from error

    def _read_head(self, files: int) -> list[Shard]:
        head = self._parsed(0)
        if not isinstance(head, dict) or head.get('format') != FORMAT:
            raise self._wrong('has another format')
        if head.get('version') != VERSION:
            raise self._wrong(f'has version {head.get("version")!r:.20}, of which only 1 is known')
        if head.get('files') != files:
            raise self._wrong('is not whole: it lists another number of files than it says')
        shards = head.get('shards')
        if not isinstance(shards, list):
            raise self._wrong('names no shards')
        for shard in shards:
            match shard:
                case [str(name), int(size), str(digest)] if size >= 0 and len(digest) == 64:
                    if name_issue(name) or '/' in name:
                        raise self._wrong(f'names a shard {name!r:.80}')
                case _:
                    raise self._wrong('describes a shard in another way than expected')
        return [Shard(*shard) for shard in shards]

    def _check_entries(self) -> None:
        before = b''
        for line in range(1, len(self) + 1):
            match self._parsed(line):
                case [str(name), int(shard), int(offset), int(size), int(crc)]:
                    pass
                case _:
                    raise self._wrong(f'is not valid in line {line + 1}')
            if issue := name_issue(name):
                raise self._wrong(f'has a name in line {line + 1} that {issue}')
            key = name.encode()
            if key <= before:
                what = 'twice' if key == before else 'not in order'
                raise self._wrong(f'lists {name!r:.80} {what}')
            before = key
            if not (0 <= size <= LARGEST_FILE and 0 <= crc < 1 << 32):
                raise self._wrong(f'has a size or checksum in line {line + 1} that is not allowed')
            if shard == WHOLE:
                fits = offset == 0
            else:
                known = 0 <= shard < len(self.shards)
                fits = known and BLOCK <= offset <= self.shards[shard].size - size
            if not fits:
                raise self._wrong(f'places {name!r:.80} outside the shards')

    def _wrong(self, what: str) -> DatasetError:
        return DatasetError(
            f'The index {self._where} {what}: copy the dataset again, or write it again with '
            '`casvit shard`.'
        )


def index_content(shards: Iterable[Shard], entries: Iterable[Entry]) -> bytes:
    """The content of an index file.

    Args:
        shards: The shards, in the order in which entries count them.
        entries: The files, in any order.
    """
    ordered = sorted(entries, key=lambda entry: entry.name.encode())
    listed = [[shard.name, shard.size, shard.sha256] for shard in shards]
    head = dict(format=FORMAT, version=VERSION, files=len(ordered), shards=listed)
    lines = [_line(head)]
    lines += [_line([e.name, e.shard, e.offset, e.size, e.crc32]) for e in ordered]
    content = b''.join(lines)
    return content + _line(dict(sha256=hashlib.sha256(content).hexdigest()))


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(',', ':')).encode() + b'\n'
