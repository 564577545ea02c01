"""A fused checkpoint predicts like the original, and unsupported uses are reported."""

import contextlib
import io
import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from quick_runs import DEMO, QUICK, SEGMENTATION_DEMO

from casvit.cli.main import run_tool
from casvit_mm.models.checkpoint import read_checkpoint
from casvit_mm.speed.devices import check_precision
from casvit_mm.speed.matrix_products import gains_from

RTMDET = 'rtmdet_casvit-s_8xb32-300e_coco'


@pytest.fixture(scope='module')
def fused(checkpoint, tmp_path_factory):
    """A fused checkpoint, and the output of the command."""
    out = tmp_path_factory.mktemp('fused') / 'sub' / 'fused.safetensors'
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert run_tool('fuse', [DEMO, str(checkpoint), str(out)]) == 0
    return out, said.getvalue()


def scores(answer):
    found = re.findall(r'^(?:box|mask) .*$', answer.out, re.MULTILINE)
    assert len(found) == 2
    return found


def test_the_command_reports_what_it_did(fused):
    out, said = fused
    before, after = map(int, re.search(r'batch norms: (\d+) before, (\d+) after', said).groups())
    assert before > 60 and after == 0
    assert float(re.search(r'at most ([\d.e-]+) of', said)[1]) <= 1e-5
    assert str(out) in said
    meta = read_checkpoint(out)['meta']
    assert meta['structure'] == 'fused'
    assert 'circle' in meta['dataset_meta']['classes']


def test_a_fused_checkpoint_and_a_fused_model_test_like_the_original(
    call, shapes, checkpoint, fused
):
    options = ['--data-root', shapes, *QUICK]
    plain = call('test', DEMO, checkpoint, *options)
    assert plain.code == 0
    for arguments in ([fused[0]], [checkpoint, '--fuse']):
        answer = call('test', DEMO, *arguments, *options)
        assert answer.code == 0, answer.err
        assert scores(answer) == scores(plain)


def test_lower_precision_works_with_fusion(call, shapes, checkpoint):
    options = ['--fuse', '--precision', 'bf16', '--data-root', shapes, *QUICK]
    answer = call('test', DEMO, checkpoint, *options)
    assert answer.code == 0, answer.err
    note = 'is not faster in bf16 than in fp32' in answer.out
    assert note != gains_from(get_device(), torch.bfloat16)


def test_test_time_augmentation_works_with_fusion(call, shapes, checkpoint):
    options = ['--fuse', '--tta', '--data-root', shapes, *QUICK]
    assert call('test', DEMO, checkpoint, *options).code == 0


@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'fp16'])
@pytest.mark.parametrize('gains', [True, False])
def test_a_precision_without_a_gain_is_reported(gains, precision, monkeypatch):
    monkeypatch.setattr('casvit_mm.speed.devices.gains_from', lambda *asked: gains)
    monkeypatch.setattr('casvit_mm.speed.devices.works_in', lambda *asked: True)
    note = check_precision(precision, 'cpu')
    assert note == (
        ''
        if gains or precision == 'fp32'
        else f'Note: this CPU is not faster in {precision} than in fp32.'
    )


def test_a_precision_that_torch_lacks_is_refused_in_a_sentence(
    call, shapes, checkpoint, monkeypatch
):
    monkeypatch.setattr('casvit_mm.speed.devices.works_in', lambda *asked: False)
    answer = call('test', DEMO, checkpoint, '--precision', 'fp16', '--data-root', shapes, *QUICK)
    assert answer.code == 2
    assert 'does not support fp16 on this' in answer.err
    assert 'Traceback' not in answer.err


def test_image_demo_takes_a_fused_checkpoint(call, shapes, fused, tmp_path):
    image = next((shapes / 'val').glob('*.jpg'))
    answer = call('image_demo', image, DEMO, fused[0], '--out-dir', tmp_path, '--score-thr', '0')
    assert answer.code == 0, answer.err
    assert json.loads(next(tmp_path.glob('*.json')).read_text())


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['train', DEMO, '--cfg-options', 'load_from={fused}'], 'not trained'),
        (['fuse', DEMO, '{fused}', 'again.pth'], 'already fused'),
        (['publish_model', '{fused}', 'out.pth', '--layout', 'published'], 'no names'),
        (['fuse', DEMO, '{checkpoint}', 'out.onnx'], 'end in'),
        (['fuse', SEGMENTATION_DEMO, '{checkpoint}', 'out.pth'], 'does not fit'),
    ],
    ids=['train', 'again', 'published', 'suffix', 'model'],
)
def test_what_a_fused_checkpoint_cannot_be_used_for_is_a_sentence(
    arguments, said, call, shapes, checkpoint, fused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = [each.format(fused=fused[0], checkpoint=checkpoint) for each in arguments]
    if arguments[0] == 'train':
        arguments += ['--data-root', shapes]
    answer = call(*arguments)
    assert answer.code == 2
    assert said in answer.err
    assert 'Traceback' not in answer.err
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('key', ['backbone.stem.0.bias', 'neck.fpn_convs.3.conv.weight'])
def test_nan_weights_are_not_written(key, call, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict'][key][:] = float('nan')
    torch.save(content, tmp_path / 'broken.pth')
    answer = call('fuse', DEMO, tmp_path / 'broken.pth', tmp_path / 'out.pth')
    assert answer.code == 2
    assert f'its weight {key} has values that are NaN' in answer.err
    assert not (tmp_path / 'out.pth').exists()


@pytest.fixture(scope='module')
def rtmdet(configs, tmp_path_factory):
    """Random weights of a model whose heads share their convolutions between levels."""
    cfg = Config.fromfile(configs / f'detection/{RTMDET}.py')
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    path = tmp_path_factory.mktemp('rtmdet') / 'run.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {'epoch': 1}}, path)
    return path


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_convolutions_that_levels_share_are_published_and_fused_under_all_names(
    suffix, call, rtmdet, tmp_path
):
    assert call('publish_model', rtmdet, f'out{suffix}').code == 0
    (published,) = tmp_path.glob(f'out-*{suffix}')
    weights = read_checkpoint(rtmdet)['state_dict']
    again = read_checkpoint(published)['state_dict']
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[key], weights[key]) for key in weights)
    answer = call('fuse', RTMDET, published, f'fused{suffix}')
    assert answer.code == 0, answer.err
    answer = call('fuse', RTMDET, f'fused{suffix}', 'again.pth')
    assert 'already fused' in answer.err
