"""Records of an archive are read in pieces, in two threads, and every byte is verified."""

import os
import threading
import zlib

import pytest

from casvit_mm.models.checkpoint.content import verified
from casvit_mm.models.checkpoint.content.checksums import joined
from casvit_mm.models.checkpoint.content.problems import DamagedError
from casvit_mm.models.checkpoint.content.verified import PIECE, Extent, read_verified

SIZES = (0, 1, 100, PIECE, PIECE + 1, 0, 2 * PIECE + 5, 7)


@pytest.fixture(scope='module')
def content():
    return os.urandom(sum(SIZES))


@pytest.fixture(params=['positioned', 'in turns'])
def file(content, tmp_path, request, monkeypatch):
    if request.param == 'in turns':
        # As on systems without reads from a place.
        monkeypatch.setattr(verified, 'POSITIONED', False)
    (tmp_path / 'file').write_bytes(content)
    with (tmp_path / 'file').open('rb') as opened:
        yield opened


@pytest.fixture
def extents(content):
    """Records of several sizes, in their order in the file; the buffer of one is shorter."""
    made, start = [], 0
    for size in SIZES:
        checksum = zlib.crc32(content[start : start + size])
        shorter = 3 if size == 100 else 0
        buffer = memoryview(bytearray(size - shorter))
        made.append(Extent(f'at {start}', start, size, checksum, buffer))
        start += size
    return made


@pytest.mark.parametrize('sizes', [(0, 0), (0, 5), (5, 0), (1, 1), (1000, 70_001)])
def test_a_checksum_is_that_of_both_parts_together(sizes):
    first, second = map(os.urandom, sizes)
    whole = joined(zlib.crc32(first), zlib.crc32(second), len(second))
    assert whole == zlib.crc32(first + second)


def test_every_record_gets_its_bytes(file, extents, content):
    read_verified(file, extents)
    for extent in extents:
        assert extent.buffer == content[extent.start : extent.start + len(extent.buffer)]


def test_nothing_to_read_is_no_error(file):
    read_verified(file, [])


@pytest.mark.parametrize('bad', range(len(SIZES)))
def test_a_wrong_checksum_names_its_record(bad, file, extents):
    wrong = extents[bad]
    extents[bad] = wrong._replace(checksum=wrong.checksum ^ 1)
    with pytest.raises(DamagedError, match=f'CRC-32 of its record {wrong.name} is wrong'):
        read_verified(file, extents)


def test_the_first_of_many_damaged_records_is_named(file, extents):
    wrong = [extent._replace(checksum=extent.checksum ^ 1) for extent in extents if extent.size]
    for _ in range(10):
        with pytest.raises(DamagedError, match='record at 0 '):
            read_verified(file, wrong)


def test_a_file_that_ends_too_early_is_noticed(file, extents, content):
    os.truncate(file.name, len(content) - 1)
    with pytest.raises(DamagedError, match='ends too early'):
        read_verified(file, extents)


def test_a_record_that_is_not_found_ends_the_threads(file, extents):
    def found():
        yield from extents[:-1]
        raise DamagedError('its record cannot be read')

    before = threading.active_count()
    with pytest.raises(DamagedError, match='cannot be read'):
        read_verified(file, found())
    assert threading.active_count() == before


def test_an_interruption_ends_the_threads(file, extents, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    before = threading.active_count()
    monkeypatch.setattr(verified, 'joined', interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_verified(file, extents)
    assert threading.active_count() == before
