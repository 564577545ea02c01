"""Reading and loading checkpoints."""

import argparse
import importlib
import pickle

import published
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file
from torch import nn
from unreadable import needs_linux, unreadable_file

from casvit_mm.deploy import fuse
from casvit_mm.models import ARCHITECTURES, CASViT, CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.pretrained import load_pretrained_backbone
from casvit_mm.models.checkpoint.published_layout import (
    adapt_input_channels,
    guess_size,
    to_native_key,
)


class Detector(nn.Module):
    """A backbone and one more layer: enough of a detector to load weights into."""

    def __init__(self, classes=3, **backbone):
        super().__init__()
        self.backbone = CASViT(**{'arch': 'xs', **backbone})
        self.head = nn.Linear(220, classes)


@pytest.fixture
def save(tmp_path):
    def write(content, name='weights.pth'):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def log(monkeypatch):
    """The messages that are logged."""
    messages = []
    for module in ('backbone', 'checkpoint.load', 'checkpoint.pretrained', 'casvit'):
        monkeypatch.setattr(
            f'casvit_mm.models.{module}.print_log', lambda text, **_: messages.append(str(text))
        )
    return messages


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize('size', published.SIZES)
def test_translated_published_keys_are_exactly_those_of_the_backbone(size):
    native = [to_native_key(key) for key in published.weights(size, 'backbone')]
    assert sorted(native) == sorted(CASViT(size).state_dict())


@pytest.mark.parametrize('size', published.SIZES)
def test_a_published_classification_file_loads_into_the_dense_backbone(size, save, log):
    weights = published.weights(size, 'classification')
    file = save({'model': weights, 'optimizer': {'lr': 1.0}, 'args': argparse.Namespace(lr=6e-3)})
    backbone = CASViT(size, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    backbone.init_weights()
    state = backbone.state_dict()
    left_out = ('norm.', 'head.', 'dist_head.')
    for key, value in weights.items():
        if not key.startswith(left_out):
            assert torch.equal(state[to_native_key(key)], value), key
    for index, channels in enumerate(ARCHITECTURES[size].channels):
        assert torch.equal(state[f'out_norms.{index}.weight'], torch.ones(channels))
        assert torch.equal(state[f'out_norms.{index}.running_var'], torch.ones(channels))
    (line,) = [text for text in log if 'tensors loaded' in text]
    assert 'left out the classifier (dist_head, head, norm)' in line
    assert 'output norms newly initialised (out_norms.0' in line


def our_classifier_weights(size='xs'):
    """Weights as saved by a classification run of this package."""
    backbone = CASViT(size, out_indices=(3,)).state_dict()
    for value in backbone.values():
        value.add_(1)
    head = nn.Linear(ARCHITECTURES[size].channels[-1], 6).state_dict()
    return {f'backbone.{key}': value for key, value in backbone.items()} | {
        f'head.fc.{key}': value for key, value in head.items()
    }


def test_our_classification_file_loads_into_the_dense_backbone_without_its_norm(save, log):
    weights = our_classifier_weights()
    backbone = CASViT('xs', init_cfg=dict(type='Pretrained', checkpoint=str(save(weights))))
    backbone.init_weights()
    state = backbone.state_dict()
    for key, value in state.items():
        if key.startswith('out_norms.'):
            assert torch.equal(value, CASViT('xs').state_dict()[key]), key
        else:
            assert torch.equal(value, weights[f'backbone.{key}']), key
    (line,) = [text for text in log if 'tensors loaded' in text]
    assert 'left out the classifier (head, out_norms.3)' in line
    assert 'output norms newly initialised (out_norms.0' in line


def test_a_published_classifier_and_ours_with_the_same_weights_give_the_same_backbone(save):
    published_weights = published.weights('xs', 'classification')
    ours = {
        f'backbone.{to_native_key(key)}': value
        for key, value in published_weights.items()
        if not key.startswith(('norm.', 'head.', 'dist_head.'))
    }
    ours |= {f'backbone.out_norms.3.{key}': torch.rand(220) for key in ('weight', 'bias')}
    ours['head.fc.weight'] = torch.rand(6, 220)
    states = []
    for content in ({'model': published_weights}, {'state_dict': ours}):
        backbone = CASViT('xs')
        load_pretrained_backbone(backbone, save(content))
        states.append(backbone.state_dict())
    assert equal(*states)


def test_output_norms_missing_in_a_detector_file_are_an_error(save):
    weights = {f'backbone.{k}': v for k, v in CASViT('xs').state_dict().items()}
    file = save({k: v for k, v in weights.items() if 'out_norms.0' not in k})
    with pytest.raises(CheckpointError, match=r'missing out_norms\.0\.weight'):
        load_pretrained_backbone(CASViT('xs'), file)


def test_a_backbone_file_without_output_norms_loads_like_that_of_a_classifier(save, log):
    weights = {k: v for k, v in CASViT('xs').state_dict().items() if 'out_norms' not in k}
    load_pretrained_backbone(CASViT('xs'), save(weights))
    assert any('output norms newly initialised' in text for text in log)


def test_the_error_for_our_classification_file_in_a_detector_suggests_init_cfg(save):
    file = save({'state_dict': our_classifier_weights()})
    with pytest.raises(CheckpointError, match=r'model.backbone.init_cfg.checkpoint'):
        load_into(Detector(), read_checkpoint(file), strict=False)


def test_a_detector_file_of_mmcv_1_loads_into_a_detector_and_into_a_backbone(save):
    weights = {f'backbone.{k}': v for k, v in published.weights('xs', 'backbone').items()} | {
        'head.weight': torch.rand(3, 220),
        'head.bias': torch.rand(3),
    }
    meta = {'CLASSES': ('a', 'b', 'c'), 'mmcv_version': '1.5.3'}
    file = save({'meta': meta, 'state_dict': weights})
    detector = Detector()
    report = load_into(detector, read_checkpoint(file), strict=True)
    assert not report.describe()
    assert torch.equal(detector.backbone.stem[0].bias, weights['backbone.patch_embed.0.bias'])

    alone = CASViT('xs')
    load_pretrained_backbone(alone, file)
    assert equal(alone.state_dict(), detector.backbone.state_dict())


def test_published_keys_also_load_with_plain_load_state_dict():
    weights = published.weights('xs', 'backbone')
    detector = nn.ModuleDict({'backbone': CASViT('xs')})
    detector.load_state_dict({f'backbone.{k}': v for k, v in weights.items()}, strict=True)
    assert torch.equal(detector['backbone'].out_norms['3'].bias.data, weights['norm6.bias'])


def test_the_output_norm_of_an_unused_stage_is_left_out_and_logged(save, log):
    file = save(published.weights('xs', 'backbone'))
    backbone = CASViT('xs', out_indices=(1, 2, 3))
    report = load_into(backbone, read_checkpoint(file), strict=True)
    assert not report.unexpected
    assert any('left out norm0' in text for text in log)


def test_native_weights_survive_a_round_trip_in_every_layout(save, tmp_path):
    backbone = CASViT('xs')
    weights = backbone.state_dict()
    save_file(weights, tmp_path / 'weights.safetensors', metadata={'format': 'pt'})
    files = [
        save(weights, 'bare.pth'),
        save({'model': weights, 'epoch': 3}, 'model.pth'),
        save({'state_dict': weights, 'meta': {}}, 'openmmlab.pth'),
        save({'state_dict': {f'module.{k}': v for k, v in weights.items()}}, 'ddp.pth'),
        tmp_path / 'weights.safetensors',
    ]
    for file in files:
        assert equal(read_checkpoint(file)['state_dict'], weights), file
        other = CASViT('xs')
        load_into(other, read_checkpoint(file), strict=True)
        assert equal(other.state_dict(), weights), file


def test_training_state_is_read_back(save):
    content = {
        'state_dict': CASViT('xs').state_dict(),
        'message_hub': {'loss': HistoryBuffer([1.0, 2.0], [1, 1])},
        'optimizer': torch.optim.AdamW(nn.Linear(2, 2).parameters(), lr=0.1).state_dict(),
        'meta': {'epoch': 3, 'dataset_meta': {'classes': ('cat', 'dog')}},
    }
    checkpoint = read_checkpoint(save(content))
    assert checkpoint['message_hub']['loss'].mean() == 1.5
    assert checkpoint['meta'] == content['meta']
    assert checkpoint['optimizer']['param_groups'][0]['lr'] == 0.1


SCHEDULES = {
    'ConstantLR': {},
    'CosineAnnealingLR': {'T_max': 3},
    'CosineRestartLR': {'periods': [2], 'restart_weights': [1], 'eta_min': 0},
    'ExponentialLR': {'gamma': 0.9},
    'LinearLR': {},
    'MultiStepLR': {'milestones': [1, 2]},
    'OneCycleLR': {'eta_max': 1.0, 'total_steps': 5},
    'PolyLR': {},
    'ReduceOnPlateauLR': {'monitor': 'loss'},
    'StepLR': {'step_size': 2},
}


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('optimizer', ['SGD', 'AdamW'])
def test_training_state_is_read_back_for_every_schedule(optimizer, schedule, save):
    layer = nn.Linear(2, 2)
    stepped = getattr(torch.optim, optimizer)(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 2)).sum().backward()
    stepped.step()
    state = PARAM_SCHEDULERS.build(
        dict(type=schedule, optimizer=stepped, **SCHEDULES[schedule])
    ).state_dict()
    content = {
        'state_dict': CASViT('xs').state_dict(),
        'optimizer': stepped.state_dict(),
        'param_schedulers': [state],
    }
    checkpoint = read_checkpoint(save(content))
    assert checkpoint['param_schedulers'] == [state]
    assert checkpoint['optimizer']['param_groups'] == content['optimizer']['param_groups']


@pytest.mark.parametrize(('in_file', 'in_model'), [('s', 'm'), ('xs', 's'), ('t', 'l')])
def test_a_file_of_another_size_is_rejected_and_the_error_names_both_sizes(in_file, in_model, save):
    file = save({'state_dict': CASViT(in_file).state_dict()})
    said = f'this looks like size {in_file.upper()}, the config says {in_model.upper()}'
    with pytest.raises(CheckpointError, match=said):
        load_into(CASViT(in_model), read_checkpoint(file), strict=False, source=str(file))
    with pytest.raises(CheckpointError, match=said):
        load_pretrained_backbone(CASViT(in_model), file)


@pytest.mark.parametrize('size', ARCHITECTURES)
def test_every_size_is_recognised_from_its_weights(size):
    assert guess_size(CASViT(size).state_dict()) == size


def test_a_backbone_is_never_partly_loaded(save):
    weights = Detector().state_dict()
    del weights['backbone.stages.2.1.mlp.fc1.weight']
    file = save({'state_dict': weights})
    detector = Detector()
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    with pytest.raises(CheckpointError, match=r'missing backbone.stages.2.1.mlp.fc1.weight'):
        load_into(detector, read_checkpoint(file), strict=False)
    assert equal(detector.state_dict(), before)


def test_a_head_for_other_classes_is_new_in_training_and_an_error_in_testing(save, log):
    checkpoint = read_checkpoint(save({'state_dict': Detector(classes=80).state_dict()}))
    detector = Detector(classes=3)
    report = load_into(detector, checkpoint, strict=False)
    assert [key for key, _, _ in report.mismatched] == ['head.bias', 'head.weight']
    assert any('head.bias (80,) in the file, (3,) in the model' in text for text in log)
    with pytest.raises(CheckpointError, match=r'head\.bias'):
        load_into(detector, checkpoint, strict=True)


def test_the_error_for_an_imagenet_file_in_a_detector_suggests_init_cfg(save):
    file = save({'model': published.weights('xs', 'classification')})
    with pytest.raises(CheckpointError, match=r'model.backbone.init_cfg.checkpoint'):
        load_into(Detector(), read_checkpoint(file), strict=False)


@pytest.mark.parametrize('in_channels', [1, 2, 4, 6, 7])
def test_rgb_weights_are_adapted_to_other_input_channels_keeping_the_mean(in_channels, save, log):
    file = save({'model': published.weights('xs', 'classification')})
    backbone = CASViT(
        'xs', in_channels=in_channels, init_cfg=dict(type='Pretrained', checkpoint=str(file))
    )
    backbone.init_weights()
    rgb = CASViT('xs', init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    rgb.init_weights()
    grey = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(
        backbone.stem[0](grey.expand(-1, in_channels, -1, -1)),
        rgb.stem[0](grey.expand(-1, 3, -1, -1)),
        rtol=1e-5,
        atol=1e-5,
    )
    assert any(f'adapted to {in_channels} input channels' in text for text in log)


def test_three_channels_are_not_changed_by_the_adaptation():
    weight = torch.rand(8, 3, 3, 3)
    torch.testing.assert_close(adapt_input_channels(weight, 3), weight)


def test_there_is_a_warning_about_random_weights_with_frozen_statistics(log):
    CASViT('xs', norm_eval=True).init_weights()
    assert any('norm_eval=False' in text for text in log)
    log.clear()
    CASViT('xs', norm_eval=False).init_weights()
    assert not log


class Attack:
    def __reduce__(self):
        return (print, ('code from the file runs',))


def test_a_file_that_would_run_code_is_rejected(save, capsys):
    file = save({'state_dict': {'a': torch.zeros(1)}, 'meta': Attack()})
    with pytest.raises(CheckpointError, match=r'builtins\.print, which is not a weight'):
        read_checkpoint(file)
    assert 'code from the file runs' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'is not a checkpoint'),
        (b'<!DOCTYPE html><html>', 'is not a checkpoint'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'is not a checkpoint'),
        (b'PK\x03\x04 cut off', 'is not a checkpoint'),
        (pickle.dumps([1, 2]), 'is not a checkpoint'),
    ],
)
def test_the_error_names_a_file_that_is_not_a_checkpoint(content, said, tmp_path):
    file = tmp_path / 'weights.pth'
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as error:
        read_checkpoint(file)
    assert str(file) in str(error.value)


def test_a_truncated_checkpoint_is_reported(save):
    file = save(CASViT('xs').state_dict())
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match='damaged'):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ([1, 2], 'holds a list, but no weights'),
        ({'epoch': 3}, "a dict with 'epoch', but no weights"),
        ({}, 'nothing in it'),
    ],
)
def test_a_file_without_weights_is_reported(content, said, save):
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(save(content))


def test_a_damaged_safetensors_file_is_reported(tmp_path):
    file = tmp_path / 'weights.safetensors'
    file.write_bytes(b'\x00' * 20)
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        read_checkpoint(file)


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    with pytest.raises(CheckpointError, match=r'nowhere\.pth does not exist'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        read_checkpoint(tmp_path)


def test_the_error_for_a_missing_pretrained_file_says_how_to_get_it():
    backbone = CASViT('xs', init_cfg=dict(type='Pretrained', checkpoint='checkpoints/none.pth'))
    with pytest.raises(CheckpointError, match='--from-scratch') as error:
        backbone.init_weights()
    assert '`casvit weights` lists the files that the authors publish' in str(error.value)


class GetattrAttack:
    def __reduce__(self):
        return (getattr, (argparse.Namespace, '__init__'))


def test_getattr_in_a_file_can_only_reach_methods_of_training_state(save):
    with pytest.raises(CheckpointError, match=r'builtins\.getattr, which is not a weight'):
        read_checkpoint(save({'state_dict': {'a': torch.zeros(1)}, 'meta': GetattrAttack()}))


@pytest.mark.parametrize(
    'wrap',
    [
        lambda key: f'_orig_mod.{key}',
        lambda key: f'module._orig_mod.{key}',
        lambda key: f'_orig_mod.module.{key}',
        lambda key: f'module.module._orig_mod._orig_mod.{key}',
        lambda key: key.replace('backbone.', 'backbone._orig_mod.'),
        lambda key: key.replace('backbone.', 'backbone.module._orig_mod.'),
        lambda key: 'module.' + key.replace('backbone.stages.1.', 'backbone.stages._orig_mod.1.'),
        lambda key: key.replace('.mlp.', '._orig_mod.mlp._orig_mod.'),
        lambda key: key.replace('.weight', '._orig_mod.weight'),
    ],
)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_prefixes_of_compiled_and_distributed_models_are_removed_at_any_depth(
    wrap, suffix, save, tmp_path
):
    weights = Detector().state_dict()
    wrapped = {wrap(key): value for key, value in weights.items()}
    file = tmp_path / 'weights.safetensors'
    if suffix == '.pth':
        file = save({'state_dict': wrapped})
    else:
        save_file(wrapped, file)
    assert equal(read_checkpoint(file)['state_dict'], weights)
    backbone = CASViT('xs')
    load_pretrained_backbone(backbone, file)
    load_into(Detector(), read_checkpoint(file), strict=True)


def test_a_plain_model_loads_the_weights_of_a_compiled_one(save):
    detector = Detector()
    detector.backbone = torch.compile(detector.backbone, backend='eager')
    file = save(torch.compile(detector, backend='eager').state_dict())
    other = Detector()
    load_into(other, read_checkpoint(file), strict=True)
    assert torch.equal(other.head.weight, detector.head.weight)


@pytest.mark.parametrize('key', ['my_orig_mod.weight', 'head.submodule.weight', 'orig_mod.weight'])
def test_names_that_only_look_like_a_prefix_are_kept(key, save):
    assert list(read_checkpoint(save({key: torch.zeros(1)}))['state_dict']) == [key]


def test_two_weights_with_the_same_name_are_rejected(save):
    file = save({'_orig_mod.head.weight': torch.zeros(1), 'head.weight': torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"two weights for 'head\.weight'"):
        read_checkpoint(file)


ADDRESSES = {
    'http://127.0.0.1:1/x.pth': 'cannot be opened: Connection refused.',
    'ftp://127.0.0.1:1/x.pth': 'no such kind of address is known. Download the file',
    's3://bucket/x.pth': 'Download the file, and name that.',
}


@pytest.mark.parametrize('address', ADDRESSES)
def test_an_address_that_cannot_be_opened_is_a_sentence(address):
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(address)
    assert address in str(refused.value) and ADDRESSES[address] in str(refused.value)
    assert 'Errno' not in str(refused.value)


@needs_linux
def test_a_checkpoint_that_the_disk_cannot_read_is_named(tmp_path):
    file = unreadable_file(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth cannot be opened: Input/output error\.'):
        read_checkpoint(file)


LOADED = {
    'http://127.0.0.1:1/x.pth': 'cannot be downloaded: Connection refused.',
    'pavi://x': 'is not read here: download the file, and name that.',
}


@pytest.mark.parametrize('address', LOADED)
def test_an_address_that_mmengine_cannot_load_from_is_a_sentence(address, tmp_path, monkeypatch):
    # As the commands do.
    importlib.import_module('casvit_mm.safe_loading')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(CheckpointError) as refused:
        CheckpointLoader.load_checkpoint(address)
    assert f'{address} {LOADED[address]}' in str(refused.value)


def test_mmdet_does_not_load_a_fused_model_into_one_that_is_not(configs, tmp_path):
    apis = pytest.importorskip('mmdet.apis')
    torch.save(fuse(CASViT('xs').eval()).state_dict(prefix='backbone.'), tmp_path / 'fused.pth')
    config = str(configs / 'detection/mask_rcnn_casvit-xs_demo_shapes.py')
    with pytest.raises(CheckpointError, match='weights of a fused model, which only this package'):
        apis.init_detector(config, str(tmp_path / 'fused.pth'), device='cpu')
