"""Clean checkpoints: their content, and that no weights are lost."""

import argparse
import hashlib

import numpy as np
import published
import pytest
import torch
from torch import nn

from casvit.cli.main import run_tool
from casvit_mm.models import CASViT, CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.publish import native_weights, publish, published_weights

KINDS = ('backbone', 'classification')
OWN_FORMAT = published.TESTS_DATA / 'own_format'
SUFFIXES = ('.pth', '.safetensors')


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def detector(size='xs', head='retinanet'):
    weights = {f'backbone.{k}': v for k, v in published.weights(size, 'backbone').items()}
    return {**weights, **published.weights(size, f'{head}_neck_and_head')}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', published.SIZES)
def test_translating_published_names_to_native_ones_is_reversible(size, kind):
    weights = published.weights(size, kind)
    assert equal(published_weights(native_weights(weights)), weights)


@pytest.mark.parametrize('head', ['retinanet', 'mask_rcnn', 'semantic_fpn'])
def test_only_the_backbone_of_detectors_and_segmentors_is_translated(head):
    weights = detector(head=head)
    native = native_weights(weights)
    assert 'backbone.stem.0.weight' in native and 'backbone.patch_embed.0.weight' not in native
    assert equal(published_weights(native), weights)
    assert equal(native_weights(native), native)


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('layout', ['native', 'published'])
def test_a_round_trip_through_a_file_is_bit_exact(layout, suffix, tmp_path):
    torch.save({'state_dict': native_weights(detector())}, tmp_path / 'run.pth')
    first = publish(tmp_path / 'run.pth', tmp_path / f'first{suffix}', layout=layout)
    again = publish(first, tmp_path / f'again{suffix}')
    content = read_checkpoint(again)['state_dict']
    assert equal(content, native_weights(detector()))
    names = read_checkpoint(first)['state_dict']
    assert ('backbone.network.0.0.norm1.weight' in names) == (layout == 'published')


def test_a_file_holds_weights_and_class_names_but_no_training_state(tmp_path):
    meta = dict(
        dataset_meta=dict(classes=('cat', 'dog'), palette=[(1, 2, 3), (4, 5, 6)]),
        cfg="work_dir = '/home/somebody'",
        epoch=12,
        hook_msgs={},
    )
    run = dict(meta=meta, state_dict=detector(), optimizer=dict(lr=1.0), message_hub={})
    torch.save(run, tmp_path / 'run.pth')
    for suffix in SUFFIXES:
        content = read_checkpoint(publish(tmp_path / 'run.pth', tmp_path / f'out{suffix}'))
        assert set(content) == {'meta', 'state_dict'}
        assert list(content['meta']['dataset_meta']['classes']) == ['cat', 'dog']
        assert content['meta']['epoch'] == 12 and 'cfg' not in content['meta']


def test_the_file_name_contains_the_hash_of_the_file(tmp_path):
    torch.save(detector(), tmp_path / 'run.pth')
    written = publish(tmp_path / 'run.pth', tmp_path / 'new' / 'out.safetensors')
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert written.name == f'out-{digest[:8]}.safetensors'
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_a_classifier_is_stored_under_model_as_in_the_authors_files(tmp_path):
    weights = published.weights('xs', 'classification')
    torch.save({'state_dict': native_weights(weights)}, tmp_path / 'run.pth')
    written = publish(tmp_path / 'run.pth', tmp_path / 'out.pth', layout='published')
    assert equal(torch.load(written, weights_only=True)['model'], weights)


def test_the_moving_average_is_published_on_request(tmp_path):
    weights = published.weights('xs', 'classification')
    average = {key: value * 2 for key, value in weights.items()}
    file = {'model': weights, 'model_ema': average, 'args': argparse.Namespace(lr=6e-3)}
    torch.save(file, tmp_path / 'run.pth')
    written = publish(tmp_path / 'run.pth', tmp_path / 'out.pth', layout='published', weights='ema')
    assert equal(torch.load(written, weights_only=True)['model'], average)


def test_files_that_cannot_be_published_are_rejected_in_a_sentence(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth holds no CAS-ViT'):
        publish(tmp_path / 'other.pth', tmp_path / 'out.pth')
    with pytest.raises(CheckpointError, match=r'\.pth or \.safetensors'):
        publish(tmp_path / 'other.pth', tmp_path / 'out.onnx')
    with pytest.raises(CheckpointError, match='does not exist'):
        publish(tmp_path / 'none.pth', tmp_path / 'out.pth')
    assert not list(tmp_path.glob('out*'))


def test_the_command_prints_the_file_that_it_wrote(tmp_path, capsys):
    torch.save(detector(), tmp_path / 'run.pth')
    arguments = [str(tmp_path / 'run.pth'), str(tmp_path / 'out.pth')]
    assert run_tool('publish_model', arguments) == 0
    (written,) = tmp_path.glob('out-*.pth')
    assert str(written) in capsys.readouterr().out


class Tiny(nn.Module):
    """The model of the stored checkpoints of an earlier version."""

    def __init__(self):
        super().__init__()
        self.backbone = CASViT(dict(depths=(1, 1, 1, 1), channels=(4, 4, 4, 4)))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        return self.head(self.backbone(image)[-1])


@pytest.mark.parametrize(
    'name', ['training.pth', 'native.pth', 'native.safetensors', 'published.pth']
)
def test_checkpoints_of_an_earlier_version_load_and_give_the_same_outputs(name):
    model = Tiny().eval()
    content = read_checkpoint(OWN_FORMAT / name)
    load_into(model, content, strict=True)
    with np.load(OWN_FORMAT / 'answer.npz') as kept, torch.no_grad():
        answer = model(torch.from_numpy(kept['image'])).numpy()
        np.testing.assert_allclose(answer, kept['answer'], atol=1e-5 * np.abs(kept['answer']).max())
    assert content['meta']['dataset_meta']['classes'] is not None
    assert list(content['meta']['dataset_meta']['classes']) == ['cat', 'dog']


class TwoLevels(nn.Module):
    """A backbone, and a head that is shared between two levels, as in RTMDet."""

    def __init__(self):
        super().__init__()
        self.backbone = CASViT('xs')
        self.heads = nn.ModuleList([nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 3)])
        self.heads[1].weight = self.heads[0].weight
        # A view of part of another tensor.
        self.register_buffer('part', self.heads[0].bias.detach()[1:3])


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_weights_that_share_memory_are_published_under_each_name(suffix, tmp_path):
    model = TwoLevels()
    torch.save(model.state_dict(), tmp_path / 'run.pth')
    written = publish(tmp_path / 'run.pth', tmp_path / f'out{suffix}')
    content = read_checkpoint(written)
    assert equal(content['state_dict'], model.state_dict())
    load_into(TwoLevels(), content, strict=True)


def test_values_that_json_cannot_represent_are_left_out_of_safetensors(tmp_path):
    meta = dict(dataset_meta=dict(classes=('cat',), odd={('a', 1): 2}), epoch=3)
    torch.save(dict(state_dict=detector(), meta=meta), tmp_path / 'run.pth')
    written = publish(tmp_path / 'run.pth', tmp_path / 'out.safetensors')
    assert read_checkpoint(written)['meta']['epoch'] == 3


def test_an_unknown_layout_and_a_place_that_is_a_file_are_refused(tmp_path):
    torch.save(CASViT('xs').state_dict(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match="layout='other': expected 'native' or 'published'"):
        publish(tmp_path / 'a.pth', tmp_path / 'b.pth', layout='other')
    with pytest.raises(CheckpointError, match=r'cannot be written: .*a\.pth is a file, not a fold'):
        publish(tmp_path / 'a.pth', tmp_path / 'a.pth/b.pth')
