"""`casvit weights`, and casvit://NAME wherever a checkpoint is named."""

import hashlib
import subprocess
import sys

import cv2
import fresh
import numpy as np
import published
import pytest
import torch
from drive import google_drive
from mmengine.runner.checkpoint import CheckpointLoader
from unreadable import needs_linux, unreadable_file

from casvit import Predictor
from casvit.errors import CheckpointError
from casvit_mm.config.read import load_config
from casvit_mm.models import CASViT, read_checkpoint

XS = 'casvit://cas-vit-xs'


def write(file, size='xs'):
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'model': published.weights(size, 'classification'), 'epoch': 300}, file)
    return file


@pytest.fixture(scope='module')
def published_file(tmp_path_factory):
    return write(tmp_path_factory.mktemp('published') / 'cas-vit-xs.pth')


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder of weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CASVIT_WEIGHTS', str(tmp_path / 'weights'))
    return tmp_path / 'weights'


@pytest.fixture
def drive(tmp_path, published_file, monkeypatch):
    """A Google Drive that is reached as the environment says."""
    pytest.importorskip('gdown')
    with google_drive(tmp_path) as drive:
        drive.content = published_file.read_bytes()
        for name in ('HTTPS_PROXY', 'https_proxy'):
            monkeypatch.setenv(name, drive.proxy)
        for name in ('NO_PROXY', 'no_proxy'):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(drive.certificates))
        yield drive


@pytest.fixture
def there(folder, published_file):
    """The published file, as a browser would have saved it."""
    folder.mkdir()
    file = folder / 'cas-vit-xs.pth'
    file.hardlink_to(published_file)
    return file


def test_get_downloads_checks_records_and_prints_what_to_do_next(call, drive, folder):
    answer = call('weights', 'get', 'cas-vit-xs')
    assert answer.code == 0, answer.err
    file = folder / 'cas-vit-xs.pth'
    assert file.read_bytes() == drive.content
    recorded = (folder / 'cas-vit-xs.pth.sha256').read_text().split()
    assert recorded == [hashlib.sha256(drive.content).hexdigest(), 'cas-vit-xs.pth']
    assert 'a classifier with CAS-ViT-XS, 1,000 classes' in answer.out
    assert f'image_demo IMAGE.jpg casvit-xs_8xb128_in1k {XS}' in answer.out
    assert f'finetune DATA --task detection --size xs --checkpoint {XS}' in answer.out
    assert str(file) in call('weights').out
    # A second time, nothing is downloaded.
    before = len(drive.requests)
    again = call('weights', 'get', 'cas-vit-xs')
    assert again.code == 0 and 'already there' in again.out
    assert len(drive.requests) == before


def test_get_refuses_a_file_of_another_size_and_keeps_nothing_of_it(call, drive, folder, tmp_path):
    drive.content = write(tmp_path / 'other.pth', 's').read_bytes()
    answer = call('weights', 'get', 'cas-vit-xs')
    assert answer.code == 2
    assert 'CAS-ViT-S, 1,000 classes; cas-vit-xs is a classifier with CAS-ViT-XS' in answer.err
    assert 'https://drive.google.com/file/d/' in answer.err
    assert not list(folder.iterdir())


def test_get_never_replaces_another_file(call, drive, folder):
    file = write(folder / 'cas-vit-xs.pth', 's')
    before = file.read_bytes()
    answer = call('weights', 'get', 'cas-vit-xs')
    assert answer.code == 2
    assert 'Rename or delete it' in answer.err
    assert file.read_bytes() == before
    assert not drive.requests


def test_an_unknown_name_is_refused_before_anything_is_downloaded(call, drive):
    answer = call('weights', 'get', 'cas-vit-xs', 'cas-vit-q')
    assert answer.code == 2
    assert "named 'cas-vit-q'. Did you mean" in answer.err
    assert not drive.requests
    assert call('weights', 'get').code == 2


def test_check_accepts_a_file_from_a_browser_and_notices_a_change(call, there, folder):
    answer = call('weights', 'check')
    assert answer.code == 0, answer.err
    assert 'a classifier with CAS-ViT-XS' in answer.out
    assert (folder / 'cas-vit-xs.pth.sha256').is_file()
    there.unlink()
    write(there, 's')
    write(folder / 'cas-vit-s.pth', 'xs')
    answer = call('weights', 'check')
    assert answer.code == 2
    assert 'cas-vit-xs.pth has changed since' in answer.err
    assert 'cas-vit-s is a classifier with CAS-ViT-S' in answer.err


def test_check_of_absent_weights_names_the_command_that_gets_them(call):
    answer = call('weights', 'check', 'cas-vit-m')
    assert answer.code == 2
    assert '`casvit weights get cas-vit-m`' in answer.err
    assert 'There are no published weights in' in call('weights', 'check').err


def test_the_predictor_takes_a_name_and_knows_its_config(there):
    result = Predictor(XS)(np.zeros((240, 320, 3), np.uint8))
    assert len(result.scores) == len(result.classes) == 1000
    assert result.classes[0].startswith('tench')


def test_a_backbone_starts_from_a_name(there):
    backbone = CASViT('xs', init_cfg=dict(type='Pretrained', checkpoint=XS))
    backbone.init_weights()
    expected = published.weights('xs', 'classification')['patch_embed.0.weight']
    assert torch.equal(backbone.stem[0].weight, expected)


def test_publish_model_takes_a_name(there, call, tmp_path):
    assert call('publish_model', XS, tmp_path / 'clean.safetensors').code == 0
    (written,) = tmp_path.glob('clean-*.safetensors')
    assert 'backbone.stem.0.weight' in read_checkpoint(written)['state_dict']


def test_loaders_of_mmengine_take_a_name(there):
    loaded = CheckpointLoader.load_checkpoint(XS, map_location='cpu')
    assert loaded['epoch'] == 300
    assert torch.equal(
        loaded['state_dict']['head.bias'], published.weights('xs', 'classification')['head.bias']
    )


def test_loaders_of_mmengine_know_the_names_once_a_config_imports_the_package():
    fresh.run(
        """
        from mmengine.runner.checkpoint import CheckpointLoader
        import casvit_mm
        try:
            CheckpointLoader.load_checkpoint('casvit://cas-vit-t')
        except Exception as error:
            assert '`casvit weights get cas-vit-t`' in str(error), error
        else:
            raise AssertionError('no error')
        """
    )


COMMANDS = {
    'train': ('casvit-xs_demo_shapes', '--cfg-options', f'load_from={XS}'),
    'test': ('casvit-xs_8xb128_in1k', XS),
    'image_demo': ('IMAGE.png', 'casvit-xs_8xb128_in1k', XS),
    'fuse': ('casvit-xs_8xb128_in1k', XS, 'fused.pth'),
    'publish_model': (XS, 'clean.pth'),
    'finetune': ('DATA', '--task', 'detection', '--checkpoint', XS),
}


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_names_the_way_to_get_absent_weights(command, call, tmp_path):
    cv2.imwrite(str(tmp_path / 'IMAGE.png'), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / 'DATA').mkdir()
    answer = call(command, *COMMANDS[command])
    assert answer.code == 2
    assert '`casvit weights get cas-vit-xs` downloads them.' in answer.err


def test_absent_pretrained_weights_stop_a_run_before_it_starts(call):
    answer = call('train', 'mask_rcnn_casvit-xs_fpn_1x_coco')
    assert answer.code == 2
    assert '`casvit weights get cas-vit-xs` downloads them.' in answer.err
    assert '--from-scratch' in answer.err


def test_shipped_configs_start_from_names_and_old_paths_still_work(tmp_path):
    name = 'mask_rcnn_casvit-xs_fpn_1x_coco'
    assert load_config(name).model.backbone.init_cfg.checkpoint == XS
    file = write(tmp_path / 'checkpoints' / 'cas-vit-xs.pth')
    assert read_checkpoint(XS)['epoch'] == 300
    file.unlink()
    with pytest.raises(CheckpointError, match='weights or checkpoints'):
        read_checkpoint(XS)


def test_a_list_that_is_read_in_part_ends_without_a_word():
    """As in `casvit weights | head -1`."""
    with subprocess.Popen(
        [sys.executable, '-m', 'casvit', 'weights'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b''
    assert listing.returncode == 141


@needs_linux
def test_a_file_that_the_disk_cannot_read_is_named(call, there, folder):
    assert call('weights', 'check').code == 0
    file = unreadable_file(folder / 'cas-vit-xs.pth')
    answer = call('weights', 'check')
    assert answer.code == 2
    assert f'{file} cannot be read or written: Input/output error.' in answer.err
