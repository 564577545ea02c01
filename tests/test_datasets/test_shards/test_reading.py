"""Files of sharded datasets, read through mmengine's file backends."""

import multiprocessing
import pickle
from contextlib import nullcontext
from pathlib import Path

import mmengine.fileio as fileio
import numpy as np
import pytest
from ftp_server import FtpServer
from mmcv.transforms import LoadImageFromFile
from shard_server import read_into

from casvit.errors import DatasetError, MissingPackageError
from casvit_mm.datasets.shards.address import split_address
from casvit_mm.datasets.shards.backend import ShardsBackend
from casvit_mm.datasets.shards.sources import StorageError

WHERE = ('shards://{folder}', 'shards+http://{host}/coco.shards', 'shards+ftp://{ftp}/coco.shards')


@pytest.fixture(params=WHERE, ids=('folder', 'http', 'fsspec'))
def root(request, shards, server):
    """The address of the same shards in a folder, on a web server, and in storage of fsspec."""
    with FtpServer(shards.parent) if 'ftp' in request.param else nullcontext() as ftp:
        yield request.param.format(folder=shards, host=server[0], ftp=ftp and ftp.host)


def test_every_file_is_read_as_it_was(root, dataset):
    files = [path for path in dataset.rglob('*') if path.is_file()]
    assert len(files) == 6
    for path in files:
        address = fileio.join_path(root, path.relative_to(dataset).as_posix())
        assert fileio.get(address) == path.read_bytes()
        assert fileio.exists(address) and fileio.isfile(address) and not fileio.isdir(address)


def test_folders_are_listed_as_those_on_disk(root, dataset):
    for options in (
        dict(),
        dict(recursive=True),
        dict(list_dir=False, recursive=True, suffix='.png'),
        dict(list_file=False),
    ):
        for folder in ('', 'train'):
            here = fileio.list_dir_or_file(str(dataset / folder), **options)
            there = fileio.list_dir_or_file(fileio.join_path(root, folder), **options)
            assert sorted(there) == sorted(here)
    assert fileio.isdir(f'{root}/train/größe') and not fileio.exists(f'{root}/val')


def test_annotations_get_a_path_on_this_machine(root, dataset):
    name = 'annotations/instances_train.json'
    with fileio.get_local_path(f'{root}/{name}') as path:
        assert Path(path).read_bytes() == (dataset / name).read_bytes()


def test_mmcv_decodes_the_same_image(root, dataset):
    load = LoadImageFromFile()
    here, there = (
        load(dict(img_path=f'{place}/train/with space.jpg'))['img'] for place in (dataset, root)
    )
    np.testing.assert_array_equal(here, there)


def test_an_unknown_file_is_named(root):
    with pytest.raises(DatasetError, match=r"no file 'train/c\.jpg'"):
        fileio.get(f'{root}/train/c.jpg')


def test_addresses_joined_on_windows_are_understood():
    address = 'shards://C:/data/coco.shards/\\train2017\\000001.jpg'
    assert split_address(address) == ('C:/data/coco.shards', 'train2017/000001.jpg')


@pytest.mark.parametrize(
    ('address', 'words'),
    [
        ('shards://a.shards/../secret', "'..'"),
        ('shards://a/train/1.jpg', "ends in '.shards'"),
        ('shards+nothing://a.shards/1.jpg', 'not an address'),
        ('shards+http:///a.shards/1.jpg', 'no valid host'),
        ('shards+http://me:secret@host/a.shards/1.jpg', 'has a user'),
        ('shards+http://host:x/a.shards/1.jpg', 'no valid host'),
        ('shards+https://me:secret@host/a/1.jpg', 'has a user'),
        ('shards+https://host/a.shards?key=1', "ends in '.shards'"),
        ('shards+https://host?key=1/a.shards/1.jpg', 'a query'),
        ('shards+sftp://me:secret@host/a.shards/1.jpg', 'host has a password'),
    ],
)
def test_addresses_that_lead_elsewhere_are_refused(address, words):
    with pytest.raises(DatasetError, match=words.replace('.', r'\.')) as caught:
        split_address(address)
    assert 'secret@' not in str(caught.value)


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_other_processes_read_with_connections_of_their_own(method, shards, server, dataset):
    host, behaviour = server
    backend, address = ShardsBackend(), f'shards+http://{host}/coco.shards/train/a.jpg'
    expected = (dataset / 'train' / 'a.jpg').read_bytes()
    assert backend.get(address) == backend.get(address) == expected
    assert behaviour.connections == 1
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=read_into, args=(queue, backend, address))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join()
    assert behaviour.connections == 2
    assert backend.get(address) == expected
    # A forked process knows the index already.
    indexes = [path for path, _ in behaviour.requests if path.endswith('.jsonl')]
    assert len(indexes) == (1 if method == 'fork' else 2)


def test_a_backend_can_be_pickled(shards):
    backend = ShardsBackend(tries=2, anon=True)
    backend.get(f'shards://{shards}/train/a.jpg')
    assert pickle.loads(pickle.dumps(backend)).patience == backend.patience


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 's3fs', None)
    with pytest.raises(MissingPackageError, match='s3fs'):
        fileio.get('shards+s3://bucket/coco.shards/train/1.jpg')


def test_a_folder_that_is_no_sharded_dataset_is_named(tmp_path):
    with pytest.raises(StorageError, match=r'index\.jsonl does not exist'):
        fileio.get(f'shards://{tmp_path}/nothing.shards/1.jpg')
