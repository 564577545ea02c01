"""Writes a dataset as tar shards with an index: the same bytes for the same files."""

import errno
import hashlib
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from casvit.errors import DatasetError
from casvit.files import why_unwritable, written_whole
from casvit.sentences import count_of, reason_of, some
from casvit_mm.datasets.shards.address import ENDING, name_issue
from casvit_mm.datasets.shards.index import (
    BLOCK,
    FILE,
    LARGEST_FILE,
    WHOLE,
    Entry,
    Shard,
    index_content,
)

MEGABYTE = 1 << 20
PIECE = 1 << 20
SPARE = 16 * MEGABYTE


@dataclass(frozen=True)
class Plan:
    """What to write.

    Attributes:
        root: The folder of the dataset.
        members: The files for the shards, by their names in the dataset.
        whole: The files that stay files of their own.
    """

    root: Path
    members: Mapping[str, Path]
    whole: Mapping[str, Path]


@dataclass(frozen=True)
class Written:
    """What was written: number of shards and of files in them, and their bytes."""

    shards: int
    files: int
    size: int


def check_out(out: Path) -> None:
    """Checks that a folder can be written.

    Raises:
        DatasetError: It is taken, read-only, or its name does not end in ``.shards``.
    """
    if not out.name.endswith(ENDING) or out.name == ENDING:
        raise DatasetError(
            f'The folder of a sharded dataset has a name that ends in {ENDING}, by which its '
            f'addresses are read: {out}{ENDING}.'
        )
    if any(part.endswith(ENDING) for part in out.absolute().parent.parts):
        raise DatasetError(f'{out} lies in another folder whose name ends in {ENDING}.')
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DatasetError(f'{out} exists: name a new or empty folder, or remove it.')
    if why := why_unwritable(out.parent):
        raise DatasetError(f'{out} cannot be written: {why}.')


def write_shards(
    plan: Plan, out: Path, shard_size: int, advance: Callable[[int], object] = lambda _: None
) -> Written:
    """Writes a dataset, whole or not at all.

    Args:
        plan: What to write.
        out: The new folder; its name ends in ``.shards``.
        shard_size: Largest size of a shard in bytes, unless one file is larger.
        advance: Called with the number of bytes of each file that was written.

    Raises:
        DatasetError: The folder is taken, there is not enough space, or a file has a name that is
            not allowed, cannot be read, or changes while it is read.
    """
    check_out(out)
    sizes = _checked_sizes(plan)
    out.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(sizes.values()) + 3 * BLOCK * len(sizes) + SPARE
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise _no_space(out, needed, free)
    try:
        with written_whole(out) as unfinished:
            unfinished.mkdir()
            return _write(plan, unfinished, shard_size, sizes, advance)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(out, needed, shutil.disk_usage(out.parent).free) from error
        raise DatasetError(f'{out} cannot be written: {reason_of(error)}.') from error


def _write(
    plan: Plan,
    out: Path,
    shard_size: int,
    sizes: Mapping[str, int],
    advance: Callable[[int], object],
) -> Written:
    entries, shards = [], []
    ordered = sorted(plan.members, key=str.encode)
    for number, names in enumerate(_divided(ordered, sizes, shard_size)):
        path = out / f'images-{number:05d}.tar'
        with path.open('wb') as file:
            whole = _Hashed(file)
            for name in names:
                whole.write(_header(name, sizes[name]))
                offset = whole.size
                crc = _copy(plan.members[name], sizes[name], whole)
                entries.append(Entry(name, number, offset, sizes[name], crc))
                whole.write(b'\0' * (-whole.size % BLOCK))
                advance(sizes[name])
            whole.write(b'\0' * (2 * BLOCK))
        shards.append(Shard(path.name, whole.size, whole.sha256.hexdigest()))
    for name in sorted(plan.whole, key=str.encode):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('xb') as file:
            crc = _copy(plan.whole[name], sizes[name], _Hashed(file))
        entries.append(Entry(name, WHOLE, 0, sizes[name], crc))
        advance(sizes[name])
    (out / FILE).write_bytes(index_content(shards, entries))
    return Written(len(shards), len(ordered), sum(shard.size for shard in shards))


class _Hashed:
    """A file that is written from its start, with its size and SHA-256 so far."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.sha256 = file, 0, hashlib.sha256()

    def write(self, content: bytes) -> None:
        self.file.write(content)
        self.size += len(content)
        self.sha256.update(content)


def _header(name: str, size: int) -> bytes:
    """The header of a member, without time, owner and rights, which may differ."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'strict')


def _divided(names: list[str], sizes: Mapping[str, int], shard_size: int) -> Iterator[list[str]]:
    """Yields the names of each shard."""
    part: list[str] = []
    total = 2 * BLOCK
    for name in names:
        size = len(_header(name, sizes[name])) + -(-sizes[name] // BLOCK) * BLOCK
        if part and total + size > shard_size:
            yield part
            part, total = [], 2 * BLOCK
        part.append(name)
        total += size
    if part:
        yield part


def _copy(source: Path, size: int, target: _Hashed) -> int:
    """Copies a file and returns its CRC-32."""
    crc = copied = 0
    try:
        file = source.open('rb')
    except OSError as error:
        raise DatasetError(f'{source} cannot be read: {reason_of(error)}.') from error
    with file:
        while copied <= size:
            try:
                piece = file.read(PIECE)
            except OSError as error:
                raise DatasetError(f'{source} cannot be read: {reason_of(error)}.') from error
            if not piece:
                break
            copied += len(piece)
            crc = zlib.crc32(piece, crc)
            target.write(piece)
    if copied != size:
        raise DatasetError(f'{source} changed while it was read: nothing was written. Try again.')
    return crc


def _checked_sizes(plan: Plan) -> dict[str, int]:
    """Sizes of all files in bytes, by name."""
    sizes, missing = {}, []
    files = {**plan.members, **plan.whole}
    for name, path in files.items():
        if issue := name_issue(name):
            raise DatasetError(f'{str(path)!a} cannot be part of a shard: its name {issue}.')
        try:
            status = path.stat()
        except FileNotFoundError:
            missing.append(name)
            continue
        except OSError as error:
            raise DatasetError(f'{path} cannot be read: {reason_of(error)}.') from error
        if not stat.S_ISREG(status.st_mode):
            raise DatasetError(f'{path} is not a regular file.')
        if status.st_size > LARGEST_FILE:
            raise DatasetError(f'{path} is larger than {LARGEST_FILE >> 30} GiB.')
        sizes[name] = status.st_size
    if missing:
        raise DatasetError(
            f'{count_of(len(missing), "file")} of the dataset {plan.root} are missing: '
            f'{some(missing)}. `casvit check DATA` lists all issues.'
        )
    _check_places(plan)
    return sizes


def _check_places(plan: Plan) -> None:
    """Checks that no file of its own takes the name of a file that this module writes."""
    for name in plan.whole:
        top = name.partition('/')[0]
        if top == FILE or (top.startswith('images-') and top.endswith('.tar')):
            raise DatasetError(
                f'The dataset {plan.root} has an annotation file {name}, which is a name of the '
                'shards: rename it.'
            )


def _no_space(out: Path, needed: int, free: int) -> DatasetError:
    return DatasetError(
        f'There is not enough space for {out}: {-(-needed // MEGABYTE):,} MB are needed, and '
        f'{free // MEGABYTE:,} MB are free.'
    )
