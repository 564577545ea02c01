"""Hostile and damaged indexes and shards are refused in a sentence, and read nothing else."""

import hashlib
import io
import json
import tarfile

import pytest

from casvit.errors import DatasetError
from casvit_mm.datasets.shards import content, index
from casvit_mm.datasets.shards.backend import ShardsBackend
from casvit_mm.datasets.shards.content import DamagedFileError
from casvit_mm.datasets.shards.index import Index
from casvit_mm.datasets.shards.sources import StorageError

SHARD = ['images-00000.tar', 10240, '0' * 64]
KEYS = ('name', 'shard', 'offset', 'size', 'crc32')
ENTRY = ['train/1.jpg', 0, 512, 100, 7]


def sealed(*entries, **changes):
    """The content of an index with a valid SHA-256, whatever it says."""
    head = dict(format='casvit shards', version=1, files=len(entries), shards=[SHARD]) | changes
    lines = [each if isinstance(each, str) else json.dumps(each) for each in (head, *entries)]
    body = ''.join(f'{line}\n' for line in lines).encode()
    return body + json.dumps(dict(sha256=hashlib.sha256(body).hexdigest())).encode() + b'\n'


def entry(**changes):
    """An entry with some values changed."""
    return list((dict(zip(KEYS, ENTRY, strict=True)) | changes).values())


def test_a_valid_index_is_read():
    found = Index(sealed(ENTRY), 'here')
    assert len(found) == 1 and found.find('train/1.jpg').size == 100
    assert found.find('train/2.jpg') is None and found.find('') is None


@pytest.mark.parametrize(
    'name',
    [
        '/etc/passwd',
        '../secret.jpg',
        'train/../../secret.jpg',
        './1.jpg',
        'train//1.jpg',
        'train/',
        'C:/1.jpg',
        'train\\1.jpg',
        'a\nb.jpg',
        'nul\0.jpg',
        '',
        '\ud800.jpg',
        'x' * 5000,
    ],
    ids=ascii,
)
def test_unsafe_names_are_refused(name):
    with pytest.raises(DatasetError, match='has a name in line 2'):
        Index(sealed(entry(name=name)), 'here')


@pytest.mark.parametrize(
    'changed',
    [
        dict(shard=1),
        dict(shard=-2),
        dict(shard=-1),
        dict(offset=-512),
        dict(offset=0),
        dict(offset=10200),
        dict(size=10**12),
        dict(size=-1),
        dict(crc32=-1),
        dict(crc32=1 << 32),
        dict(offset=1.5),
        dict(size='100'),
        dict(name=7),
        dict(name=None),
        dict(more=1),
    ],
    ids=str,
)
def test_places_outside_of_a_shard_are_refused(changed):
    with pytest.raises(DatasetError, match='index here'):
        Index(sealed(entry(**changed)), 'here')


OTHERS = {
    'empty': b'',
    'one line': b'\n',
    'objects': b'{}\n{}\n',
    'compressed': b'\x1f\x8b' + b'\0' * 100 + b'\n\n\n',
    'deep': b'[' * 100_000 + b'\n\n\n',
    'deep entry': sealed('[' * 100_000),
    'huge number': sealed('9' * 10_000),
    'twice': sealed(entry(), entry()),
    'not sorted': sealed(entry(name='b'), entry(name='a')),
    'later version': sealed(ENTRY, version=2),
    'no version': sealed(ENTRY, version=[]),
    'other format': sealed(ENTRY, format='tar'),
    'entry missing': sealed(ENTRY, files=2),
    'no shards': sealed(ENTRY, shards={}),
    'shard above': sealed(ENTRY, shards=[['../x.tar', 10240, '0' * 64]]),
    'absolute shard': sealed(ENTRY, shards=[['/x.tar', 10240, '0' * 64]]),
    'negative shard': sealed(ENTRY, shards=[['x.tar', -1, '0' * 64]]),
    'number as shard': sealed(ENTRY, shards=[7]),
    'cut': sealed(ENTRY)[:-20],
    'changed': sealed(ENTRY).replace(b'1.jpg', b'2.jpg'),
}


@pytest.mark.parametrize('kind', OTHERS)
def test_other_content_is_refused_in_one_sentence(kind):
    with pytest.raises(DatasetError, match='index here') as caught:
        Index(OTHERS[kind], 'here')
    assert len(str(caught.value)) < 400


def test_an_index_without_an_end_is_not_read_to_the_end(shards, server, monkeypatch):
    monkeypatch.setattr(content, 'LARGEST_INDEX', 1 << 20)
    monkeypatch.setattr(index, 'LARGEST_INDEX', 1 << 20)
    with (shards / 'index.jsonl').open('r+b') as file:
        file.truncate(1 << 26)
    for root in (f'shards://{shards}', f'shards+http://{server[0]}/coco.shards'):
        with pytest.raises(DatasetError, match='larger than'):
            ShardsBackend().get(f'{root}/train/a.jpg')
    # What fits into the buffers of the connection.
    assert server[1].sent < 1 << 25


@pytest.mark.parametrize('name', ['train/a.jpg', 'annotations/instances_train.json'])
def test_one_changed_byte_is_noticed(shards, name):
    file = shards / name
    file = file if file.exists() else shards / 'images-00000.tar'
    data = bytearray(file.read_bytes())
    data[600] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedFileError, match='does not match its checksum'):
        ShardsBackend().get(f'shards://{shards}/{name}')


def hostile_tar(kind):
    """A tar file with a member that makes careless readers leave it."""
    info = tarfile.TarInfo('train/a.jpg')
    types = dict(link=tarfile.LNKTYPE, symlink=tarfile.SYMTYPE, device=tarfile.CHRTYPE)
    if kind in types:
        info.type, info.linkname = types[kind], '/etc/passwd'
    elif kind == 'sparse':
        info.pax_headers = {
            'GNU.sparse.major': '1',
            'GNU.sparse.minor': '0',
            'GNU.sparse.realsize': str(1 << 40),
        }
    elif kind == 'pax':
        info.pax_headers = {'size': str(1 << 50), 'path': '../../secret'}
    else:
        info.size = 1 << 50
        return info.tobuf(tarfile.GNU_FORMAT)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w', format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    return file.getvalue()


@pytest.mark.parametrize('kind', ['link', 'symlink', 'device', 'sparse', 'pax', 'huge'])
def test_headers_of_a_hostile_shard_are_never_followed(shards, kind):
    file = shards / 'images-00000.tar'
    size, data = file.stat().st_size, hostile_tar(kind)
    address = f'shards://{shards}/train/a.jpg'
    file.write_bytes(data.ljust(size, b'\0')[:size])
    with pytest.raises(DamagedFileError):
        ShardsBackend().get(address)
    file.write_bytes(data.ljust(size + 512, b'\0'))
    with pytest.raises(StorageError):
        ShardsBackend().get(address)
