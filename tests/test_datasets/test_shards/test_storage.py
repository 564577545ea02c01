"""Web servers and other storage that fail, stall, or answer with something else."""

import time

import pytest
from ftp_server import FtpServer

from casvit.errors import DatasetError
from casvit_mm.datasets.shards import content
from casvit_mm.datasets.shards.backend import ShardsBackend
from casvit_mm.datasets.shards.sources import StorageError


@pytest.fixture
def read(shards, server):
    """Reads an image of the shards on the server."""

    def get(name='train/a.jpg', **options):
        return ShardsBackend(**options).get(f'shards+http://{server[0]}/coco.shards/{name}')

    return get


def test_only_the_bytes_of_an_image_are_transferred(read, server, dataset, shards):
    read()
    before = server[1].sent
    image = (dataset / 'train' / 'b.png').read_bytes()
    assert read('train/b.png') == image
    assert server[1].sent - before == len(image)


@pytest.mark.parametrize('failure', [500, 503, 429])
def test_a_server_that_fails_every_third_time_is_asked_again(read, server, dataset, failure):
    server[1].fails_every, server[1].failure = 3, failure
    for path in sorted((dataset / 'train').glob('*.*')) * 3:
        assert read(f'train/{path.name}') == path.read_bytes()


def test_an_answer_that_breaks_off_is_read_again(read, server, dataset):
    server[1].breaks_every = 3
    for path in sorted((dataset / 'train').glob('*.*')) * 3:
        assert read(f'train/{path.name}') == path.read_bytes()


def test_a_server_that_ignores_ranges_is_refused_before_it_sends_a_shard(
    read, server, shards, monkeypatch
):
    read()
    server[1].ranges = False
    shard = shards / 'images-00000.tar'
    with shard.open('r+b') as file:
        file.truncate(1 << 26)
    before = server[1].sent
    with pytest.raises(StorageError, match='ignores Range requests'):
        read()
    # What fits into the buffers of the connection.
    assert server[1].sent - before < 1 << 25


def test_a_server_that_stalls_is_given_up_after_a_while(read, server):
    read()
    server[1].stalls = True
    started = time.monotonic()
    with pytest.raises(StorageError, match=r'cannot be read: .*2 tries'):
        read(timeout=0.2, tries=2)
    assert time.monotonic() - started > 0.4


def test_a_server_that_is_gone_is_named_with_the_reason(read, server, monkeypatch):
    address = '127.0.0.1:1'
    with pytest.raises(StorageError, match=f'{address}.*refused.*3 tries'):
        ShardsBackend(tries=3).get(f'shards+http://{address}/coco.shards/train/a.jpg')


def test_a_forbidden_file_is_not_tried_again(read, server):
    server[1].fails_every, server[1].failure = 1, 403
    with pytest.raises(StorageError, match='403'):
        read()
    assert len(server[1].requests) == 1


def test_redirects_are_followed(read, server, dataset):
    server[1].redirects = '/elsewhere'
    assert read() == (dataset / 'train' / 'a.jpg').read_bytes()


def test_redirects_without_an_end_are_not(read, server):
    server[1].redirects = '//'
    with pytest.raises(StorageError):
        read()


@pytest.mark.parametrize('where', ['shards://{folder}', 'shards+http://{host}/coco.shards'])
@pytest.mark.parametrize('size', [100, 700, 1 << 24])
def test_a_shard_of_another_size_is_refused(where, size, shards, server):
    name = where.format(folder=shards, host=server[0]) + '/train/a.jpg'
    ShardsBackend().get(name)
    with (shards / 'images-00000.tar').open('r+b') as file:
        file.truncate(size)
    content._opened.clear()
    with pytest.raises(StorageError, match='index does not belong to it'):
        ShardsBackend().get(name)


@pytest.fixture
def ftp(shards):
    """A storage that fsspec reads, of the folder of the shards."""
    with FtpServer(shards.parent) as server:
        yield server


def test_a_storage_of_fsspec_that_was_gone_for_a_while_is_read_again(ftp, dataset):
    address = f'shards+ftp://{ftp.host}/coco.shards/train'
    assert ShardsBackend().get(f'{address}/a.jpg') == (dataset / 'train' / 'a.jpg').read_bytes()
    ftp.stop()
    ftp.start()
    assert ShardsBackend().get(f'{address}/b.png') == (dataset / 'train' / 'b.png').read_bytes()


@pytest.mark.parametrize('known', [False, True])
def test_a_storage_of_fsspec_that_says_nothing_is_given_up_in_time(ftp, known):
    backend = ShardsBackend(time_limit=1)
    address = f'shards+ftp://{ftp.host}/coco.shards/train/a.jpg'
    if known:
        backend.get(address)
    ftp.be_silent()
    started = time.monotonic()
    with pytest.raises(StorageError, match=r'cannot be read: no answer within 1 s'):
        backend.get(address)
    assert time.monotonic() - started < 10


def test_a_storage_of_fsspec_that_is_gone_is_named_with_the_reason(ftp):
    ftp.stop()
    with pytest.raises(StorageError, match=rf'ftp://{ftp.host}/.* cannot be read: .*refused.*3 tr'):
        ShardsBackend(tries=3).get(f'shards+ftp://{ftp.host}/coco.shards/train/a.jpg')


def test_a_file_that_a_storage_of_fsspec_does_not_have_is_named_at_once(ftp):
    with pytest.raises(StorageError, match=r'other\.shards/index\.jsonl does not exist'):
        ShardsBackend().get(f'shards+ftp://{ftp.host}/other.shards/train/a.jpg')


def test_addresses_that_fsspec_would_chain_are_refused(ftp):
    with pytest.raises(DatasetError, match='chains protocols'):
        ShardsBackend().get(f'shards+ftp://{ftp.host}/file::x/coco.shards/train/a.jpg')


@pytest.mark.parametrize(
    'where', ['shards+ftp://host/a.shards/1.jpg', 'shards+memory://a.shards/1']
)
def test_options_that_a_protocol_does_not_have_are_an_error_at_once(where):
    with pytest.raises(DatasetError):
        ShardsBackend(port='twenty').get(where)
