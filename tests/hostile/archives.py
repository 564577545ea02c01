"""Zip archives that break the rules of zip or of torch."""

import struct
import zipfile
from pathlib import Path

from hostile.parts import FLOATS, checkpoint, write_zip, zipped

FIELDS = {
    **{'flags': (8, '<H'), 'method': (10, '<H'), 'crc': (16, '<I'), 'size': (24, '<I')},
    'place': (42, '<I'),
}
"""Places and formats of some fields in an entry of the directory."""
PLAIN = checkpoint()


def _changed(record, field, value):
    """A maker of an archive with another value in the directory."""

    def make(path):
        write_zip(path, PLAIN)
        content = bytearray(Path(path).read_bytes())
        place, kind = FIELDS[field]
        start = content.rindex(record.encode()) - 46
        struct.pack_into(kind, content, start + place, value)
        Path(path).write_bytes(content)

    return make


def _replaced(old, new):
    """A maker of an archive with other bytes somewhere."""

    def make(path):
        write_zip(path, PLAIN)
        Path(path).write_bytes(Path(path).read_bytes().replace(old, new))

    return make


def _around(before=b'', behind=b''):
    def make(path):
        write_zip(path, PLAIN)
        Path(path).write_bytes(before + Path(path).read_bytes() + behind)

    return make


def _cut(part):
    def make(path):
        write_zip(path, PLAIN)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: int(part * len(content))])

    return make


def _overlap(path):
    """Two records that share their bytes."""
    write_zip(path, PLAIN, {'0': FLOATS, '1': FLOATS})
    content = bytearray(Path(path).read_bytes())
    first = content.rindex(b'archive/data/0') - 46
    second = content.rindex(b'archive/data/1') - 46
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    Path(path).write_bytes(content)


def _extra_length(path):
    """A record whose header in front says that it begins later."""
    write_zip(path, PLAIN)
    content = bytearray(Path(path).read_bytes())
    start = content.index(b'archive/data/0') - 30
    struct.pack_into('<H', content, start + 28, 8)
    Path(path).write_bytes(content)


def _zip64(size):
    """An archive whose directory says the size of a record in a field for large ones."""

    def make(path):
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', PLAIN)
            record = zipfile.ZipInfo('archive/data/0')
            record.extra = struct.pack('<HHQ', 1, 8, size)
            archive.writestr(record, FLOATS)
        content = bytearray(Path(path).read_bytes())
        start = content.rindex(b'archive/data/0') - 46
        struct.pack_into('<I', content, start + 24, 2**32 - 1)
        Path(path).write_bytes(content)

    return make


def _comment(path):
    write_zip(path, PLAIN)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.comment = b'PK\x05\x06'


def _twice(name):
    def make(path):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            write_zip(path, PLAIN, extra=[(name, PLAIN)])

    return make


def _records(path):
    """An archive of 70,000 empty records."""
    content, directory = bytearray(), bytearray()
    for index in range(70_000):
        name = f'archive/{index}'.encode()
        # Version, flags, method, time, checksum, two sizes, and the lengths of name and extra.
        common = struct.pack('<HHHIIIIHH', 20, 0, 0, 0, 0, 0, 0, len(name), 0)
        directory += struct.pack('<4sH', b'PK\x01\x02', 20) + common
        directory += struct.pack('<HHHII', 0, 0, 0, 0, len(content)) + name
        content += b'PK\x03\x04' + common + name
    end = struct.pack(
        '<4sHHHHIIH', b'PK\x05\x06', 0, 0, 4464, 4464, len(directory), len(content), 0
    )
    Path(path).write_bytes(content + directory + end)


def _bomb(path):
    write_zip(path, PLAIN, {'0': bytes(2**26)}, compression=zipfile.ZIP_DEFLATED)


def _fake_directory(path):
    """A directory of 100 MB, as its end says."""
    content = b'PK\x03\x04' + bytes(100_000_000)
    end = struct.pack('<4sHHHHIIH', b'PK\x05\x06', 0, 0, 9, 9, len(content) - 4, 4, 0)
    Path(path).write_bytes(content + end)


ARCHIVES = {
    'compressed 64 MB': _bomb,
    'a compressed pickle': zipped(PLAIN, compression=zipfile.ZIP_DEFLATED),
    'compressed with bzip2': zipped(PLAIN, compression=zipfile.ZIP_BZIP2),
    'compressed with lzma': zipped(PLAIN, compression=zipfile.ZIP_LZMA),
    'an unknown compression': _changed('archive/data/0', 'method', 99),
    'encrypted': _changed('archive/data/0', 'flags', 1),
    'a checksum of the weights that is wrong': _changed('archive/data/0', 'crc', 1),
    'a checksum of the pickle that is wrong': _changed('archive/data.pkl', 'crc', 1),
    'changed weights': _replaced(FLOATS, FLOATS[::-1]),
    'a larger size': _changed('archive/data/0', 'size', 10**9),
    'two pickles': _twice('archive/data.pkl'),
    'two memories of the same name': _twice('archive/data/0'),
    'a name with a zero': _replaced(b'archive/version', b'archive/versio\0'),
    'another name in front of the record': lambda path: (
        write_zip(path, PLAIN),
        Path(path).write_bytes(
            Path(path).read_bytes().replace(b'archive/data/0', b'archive/data/7', 1)
        ),
    ),
    'records that overlap': _overlap,
    'a size of zip64 that is missing': _changed('archive/data/0', 'size', 2**32 - 1),
    'a size of zip64 that is huge': _zip64(2**62),
    'a size of zip64 that is another': _zip64(12),
    'a place beyond the file': _changed('archive/data/0', 'place', 10**6),
    'a place in another record': _changed('archive/data/0', 'place', 10),
    'patched data': _changed('archive/data/0', 'flags', 0x20),
    'strong encryption': _changed('archive/data/0', 'flags', 0x40),
    'names with backslashes': _replaced(b'archive/data.pkl', b'archive\\data.pkl'),
    'a pickle with another letter': _replaced(b'archive/data.pkl', b'archive/Data.pkl'),
    'a pickle that is a folder': _replaced(b'archive/data.pkl', b'archive/data_pk/'),
    'a record that begins later': _extra_length,
    'two folders': zipped(PLAIN, extra=[('other/data.pkl', PLAIN)]),
    'a path out of the folder': zipped(PLAIN, extra=[('../evil', b'')]),
    'an absolute path': zipped(PLAIN, extra=[('/etc/evil', b'')]),
    'no pickle': lambda path: zipfile.ZipFile(path, 'w').writestr('word/document.xml', b''),
    'nothing': lambda path: zipfile.ZipFile(path, 'w').close(),
    'TorchScript': zipped(PLAIN, extra=[('archive/constants.pkl', b'\x80\x02).')]),
    'TorchScript code': zipped(PLAIN, extra=[('archive/code/__torch__.py', b'import os')]),
    'big-endian': zipped(PLAIN, order=b'big'),
    'an unknown byte order': zipped(PLAIN, order=b'middle'),
    'something in front': _around(before=b'#!/bin/sh\n'),
    'something behind': _around(behind=b'\x80\x02N.'),
    'another archive in front': _around(before=b'PK\x03\x04' + bytes(100)),
    'a comment': _comment,
    'cut in half': _cut(0.5),
    'cut after a few bytes': _cut(0.02),
    'cut at the end': _cut(0.99),
    '70,000 records': _records,
    'a directory of 100 MB': _fake_directory,
}
