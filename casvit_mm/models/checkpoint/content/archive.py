"""Reads the zip archive of ``torch.save``, with Python's ``zipfile`` alone.

Two parsers may see two files in one archive: what it holds, and where, only ``zipfile`` says here.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import IO, Any

from casvit_mm.models.checkpoint.content import digests
from casvit_mm.models.checkpoint.content.digests import Verification
from casvit_mm.models.checkpoint.content.limits import (
    PICKLE_BYTES,
    ZIP_DIRECTORY_BYTES,
    ZIP_ENTRIES,
)
from casvit_mm.models.checkpoint.content.pickles.budget import Budget
from casvit_mm.models.checkpoint.content.pickles.functions import STORAGE_CLASSES, Context
from casvit_mm.models.checkpoint.content.pickles.interpreter import Interpreter
from casvit_mm.models.checkpoint.content.pickles.records import Name
from casvit_mm.models.checkpoint.content.pickles.source import Source
from casvit_mm.models.checkpoint.content.pickles.tensors import Tensors
from casvit_mm.models.checkpoint.content.problems import (
    DamagedError,
    TooLargeError,
    UnsupportedError,
    shown,
)
from casvit_mm.models.checkpoint.content.tree import check_tree
from casvit_mm.models.checkpoint.content.verified import Extent, read_verified

END = 22
"""Bytes of the end of an archive without a comment; torch writes none."""
END_MARK = b'PK\x05\x06'
NO_COMMENT = b'\0\0'
LOCAL_HEADER = 30
"""Bytes before each record, without its name."""
ENCRYPTED = 0x1
PICKLE = 'data.pkl'
BYTE_ORDER_BYTES = 6
"""Bytes of the word 'little'."""


class _Bounded:
    """A file of which ``zipfile`` cannot read a directory of any size at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(count if 0 <= count <= ZIP_DIRECTORY_BYTES else ZIP_DIRECTORY_BYTES)
        if count > ZIP_DIRECTORY_BYTES or len(data) == ZIP_DIRECTORY_BYTES:
            raise TooLargeError('its directory is too large')
        return data


class Archive:
    """A zip archive of ``torch.save``.

    Args:
        file: The file; stays open.

    Raises:
        ContentError: It is not one, or breaks its rules.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(max(file.seek(0, io.SEEK_END) - END, 0))
        end = file.read(END)
        if not end.startswith(END_MARK) or not end.endswith(NO_COMMENT):
            raise DamagedError('its zip archive does not end where the file does')
        try:
            self._zip = zipfile.ZipFile(_Bounded(file))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise DamagedError(f'its zip archive cannot be read: {shown(error)}') from error
        entries = self._zip.infolist()
        if len(entries) > ZIP_ENTRIES:
            raise TooLargeError(f'its zip archive holds more than {ZIP_ENTRIES:,} records')
        self._folder = _folder(entries)
        _check_entries(entries, self._zip)
        ordered = sorted(entries, key=lambda entry: entry.header_offset)
        ends = [entry.header_offset for entry in ordered[1:]] + [self._zip.start_dir]
        self._ends = {entry.filename: end for entry, end in zip(ordered, ends, strict=True)}
        for entry in ordered:
            least = entry.header_offset + LOCAL_HEADER + len(entry.filename) + entry.file_size
            if least > self._ends[entry.filename]:
                raise DamagedError('records of its zip archive overlap')
        if ordered[0].header_offset != 0:
            raise DamagedError('it holds something in front of its zip archive')
        self._digests: Mapping[str, bytes] | None = None
        if f'{self._folder}{digests.RECORD}' in self._ends:
            digests.require_short(self._size(digests.RECORD))
            others = {name.removeprefix(self._folder) for name in self._ends} - {digests.RECORD}
            self._digests = digests.listed(self._content_of(digests.RECORD), others)
        self._check_byte_order()

    @property
    def verification(self) -> Verification:
        """How its content is verified."""
        return Verification.CHECKSUMS if self._digests is None else Verification.DIGESTS

    def content(self, map_location: Any) -> Any:
        """Reads what was saved.

        Args:
            map_location: As for ``torch.load``.

        Raises:
            ContentError: It is damaged, or holds what it must not.
        """
        size = self._size(PICKLE)
        if size > PICKLE_BYTES:
            raise TooLargeError(f'its content without the weights takes {size:,} bytes')
        pickled = self._content_of(PICKLE)
        tensors = Tensors(self._expect)
        content = _interpreted(pickled, tensors)
        check_tree(content, tensors.size)
        memories = sorted(
            ((f'data/{key}', memory.buffer) for key, memory in tensors.memories.items()),
            key=lambda pair: self._zip.getinfo(f'{self._folder}{pair[0]}').header_offset,
        )
        unused = (self._digests or {}).keys() - {PICKLE, *(name for name, _ in memories)}
        memories += [(name, memoryview(b'')) for name in sorted(unused)]
        read_verified(self._file, (self._extent(name, buffer) for name, buffer in memories))
        moved = tensors.moved(map_location)
        # Interpreting is cheap, and a tensor cannot always be moved in place.
        return content if moved is None else _interpreted(pickled, Tensors(self._expect, moved))

    def _content_of(self, name: str) -> bytearray:
        """Reads a record whose size has been checked."""
        content = bytearray(self._size(name))
        read_verified(self._file, [self._extent(name, memoryview(content))])
        return content

    def _extent(self, name: str, buffer: memoryview) -> Extent:
        """Where a record is, and its memory."""
        entry = self._zip.getinfo(f'{self._folder}{name}')
        digest = None
        if self._digests is not None:
            digest = self._digests.get(name)
            if digest is None:
                raise DamagedError(f'its list of checksums lacks the record {shown(name)}')
        start = self._start(entry.filename)
        return Extent(entry.filename, start, entry.file_size, entry.CRC, buffer, digest)

    def _start(self, name: str) -> int:
        """The place of the content of a record, which zipfile finds when it opens the record."""
        try:
            self._zip.open(name).close()
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise DamagedError(f'its record {shown(name)} cannot be read') from error
        # The file is there now: the length of the header in front of it is known only to zipfile.
        start = self._file.tell()
        if start + self._zip.getinfo(name).file_size > self._ends[name]:
            raise DamagedError('records of its zip archive overlap')
        return start

    def _size(self, name: str) -> int:
        try:
            return self._zip.getinfo(f'{self._folder}{name}').file_size
        except KeyError:
            raise DamagedError(f'its zip archive lacks the record {shown(name)}') from None

    def _expect(self, key: str, size: int, item: int) -> None:
        found = self._size(f'data/{key}')
        # torch rounds a number of elements down that is not a whole one.
        if not size <= found < size + item:
            raise DamagedError(f'its record {shown(key)} has {found:,} bytes instead of {size:,}')

    def _check_byte_order(self) -> None:
        if f'{self._folder}byteorder' not in self._ends:
            return
        if self._size('byteorder') > BYTE_ORDER_BYTES:
            raise DamagedError('its byte order is unknown')
        order = self._content_of('byteorder')
        if order == b'big':
            raise UnsupportedError(
                'was saved on a big-endian machine, whose numbers are not read here. Load and save '
                'it again with torch on a usual machine.'
            )
        if order != b'little':
            raise DamagedError('its byte order is unknown')


def _interpreted(pickled: bytearray, tensors: Tensors) -> Any:
    source = Source(io.BytesIO(pickled), len(pickled))
    context = Context(Budget(), tensors)
    return Interpreter(source, context, lambda saved: memory_of(saved, tensors, 5)).run()


def memory_of(saved: Any, tensors: Tensors, length: int) -> Any:
    """The memory that a pickle refers to, by what torch calls a persistent id.

    Args:
        saved: ``('storage', class, key, device, number of elements)``; the legacy format adds a
            view.
        tensors: The tensors of the file.
        length: Number of its parts.

    Raises:
        DamagedError: It is something else.
    """
    if not isinstance(saved, tuple) or len(saved) != length:
        raise DamagedError('it refers to something else than memory')
    kind, owner, key, location, count = saved[:5]
    dtype = STORAGE_CLASSES.get(owner.full) if isinstance(owner, Name) else None
    texts = all(isinstance(each, str) for each in (kind, key, location))
    if dtype is None or not texts or kind != 'storage':
        raise DamagedError('it refers to something else than memory')
    if type(count) is not int or count < 0:
        raise DamagedError('it refers to memory without a valid size')
    return tensors.memory(dtype, key, location, count)


def _folder(entries: list[zipfile.ZipInfo]) -> str:
    """The folder that all records are in, with its slash."""
    folder = entries[0].filename.partition('/')[0] + '/' if entries else '/'
    names = [entry.filename for entry in entries]
    if any(name.removeprefix(folder) == 'constants.pkl' for name in names) or any(
        name.startswith(f'{folder}code/') for name in names
    ):
        raise UnsupportedError(
            'is a TorchScript program (torch.jit.save), not weights, and would run when it is '
            'loaded. Save the weights of the model instead: torch.save(model.state_dict(), …).'
        )
    if f'{folder}{PICKLE}' not in names:
        first = f' ({shown(names[0])}, …)' if names else ''
        raise DamagedError(f'it is a zip archive of something else{first}')
    if not all(name.startswith(folder) for name in names):
        raise DamagedError('its zip archive has more than one folder')
    return folder


def _check_entries(entries: list[zipfile.ZipInfo], archive: zipfile.ZipFile) -> None:
    names = {entry.filename for entry in entries}
    originals = {entry.orig_filename for entry in entries}
    if not len(names) == len(originals) == len(entries) or names != originals:
        raise DamagedError('records of its zip archive have the same name')
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & ENCRYPTED:
            raise DamagedError('records of its zip archive are compressed, as torch never does')
        if entry.compress_size != entry.file_size or entry.header_offset < 0:
            raise DamagedError('records of its zip archive have no valid size')
