"""Models of timm as backbones: features, freezing, weights, and what is refused."""

import sys

import pytest
import torch
from torch import nn

from casvit.errors import CheckpointError, MissingPackageError
from casvit.tables import PEERS, channels
from casvit_mm.models import TimmPyramid

timm = pytest.importorskip('timm')
SMALL = 'resnet18'


def features(backbone, height=70, width=90):
    with torch.no_grad():
        return backbone.eval()(torch.rand(1, backbone.in_channels, height, width))


# Features


@pytest.mark.parametrize('name', [SMALL, 'mobilenetv4_conv_medium', 'swin_tiny_patch4_window7_224'])
def test_features_have_the_strides_of_cas_vit_for_images_of_odd_sizes(name):
    backbone = TimmPyramid(name)
    levels = features(backbone)
    assert [level.shape[1] for level in levels] == channels(name) == [*backbone.out_channels]
    assert [tuple(level.shape[2:]) for level in levels] == [(18, 23), (9, 12), (5, 6), (3, 3)]


@pytest.mark.parametrize('name', [SMALL, 'pvt_v2_b0'])
def test_features_are_those_of_timm(name):
    backbone = TimmPyramid(name, out_indices=(1, 3)).eval()
    theirs = timm.create_model(name, features_only=True, pretrained=False).eval()
    theirs.load_state_dict(backbone.network.state_dict())
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        ours, wanted = backbone(image), theirs(image)
    # ResNet's first feature in timm has stride 2.
    torch.testing.assert_close([*ours], [wanted[-3], wanted[-1]], rtol=0, atol=0)


def test_a_model_outside_the_table_is_a_backbone_too():
    assert 'regnetx_002' not in PEERS
    assert [level.shape[-1] for level in features(TimmPyramid('regnetx_002'), 64, 64)] == [
        16,
        8,
        4,
        2,
    ]


def test_stages_behind_the_last_output_are_not_built():
    short = TimmPyramid(SMALL, out_indices=(0, 1))
    assert not any('layer3' in name for name, _ in short.named_parameters())
    assert short.out_channels == (64, 128)


def test_images_of_other_bands_and_drop_path_reach_timm():
    backbone = TimmPyramid(SMALL, in_channels=5, drop_path_rate=0.2)
    assert features(backbone)[0].shape[1] == 64
    rates = [module.drop_prob for module in backbone.modules() if hasattr(module, 'drop_prob')]
    assert max(rates) == pytest.approx(0.2)


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = TimmPyramid(SMALL, with_cp=with_cp).train()
        torch.manual_seed(1)
        sum(level.square().mean() for level in backbone(torch.rand(2, 3, 64, 64))).backward()
        gradients.append(backbone.network.conv1.weight.grad)
    torch.testing.assert_close(*gradients)


# Frozen stages


@pytest.mark.parametrize(
    'frozen, name, first',
    [
        (-1, SMALL, 'conv1.weight'),
        (0, SMALL, 'layer1.0.conv1.weight'),
        (1, SMALL, 'layer2.0.conv1.weight'),
        (2, 'pvt_v2_b0', 'stages_2.downsample.proj.weight'),
        (1, 'mobilenetv4_conv_medium', 'blocks.1.0.dw_start.conv.weight'),
    ],
)
def test_frozen_stages_end_where_the_next_stage_starts(frozen, name, first):
    backbone = TimmPyramid(name, out_indices=(1, 2, 3), frozen_stages=frozen, norm_eval=False)
    backbone.train()
    trained = [key for key, value in backbone.network.named_parameters() if value.requires_grad]
    every = [key for key, _ in backbone.network.named_parameters()]
    assert trained == every[every.index(first) :]
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    still = [norm for norm in norms if not norm.weight.requires_grad]
    assert not any(norm.training for norm in still)
    assert all(norm.training for norm in norms if norm not in still)


def test_norms_stay_in_eval_mode_if_asked():
    for norm_eval in (True, False):
        backbone = TimmPyramid(SMALL, norm_eval=norm_eval).train()
        norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        assert {norm.training for norm in norms} == {not norm_eval}
        assert backbone.network.layer1.training


# Weights


@pytest.mark.parametrize('name', [SMALL, 'pvt_v2_b0', 'repvit_m1_1'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_weights_as_timm_publishes_them_are_loaded_from_a_local_file(tmp_path, name, suffix):
    from safetensors.torch import save_file

    classifier = timm.create_model(name, pretrained=False).eval()
    file = tmp_path / f'weights{suffix}'
    save = torch.save if suffix == '.pth' else save_file
    save(classifier.state_dict(), file)
    backbone = TimmPyramid(name, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    backbone.init_weights()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours, wanted = backbone.eval()(image), classifier.forward_intermediates(image)[1]
    torch.testing.assert_close(ours[-1], wanted[-1])


def test_the_backbone_of_a_run_of_this_package_is_loaded(tmp_path):
    source, file = TimmPyramid(SMALL), tmp_path / 'epoch_1.pth'
    weights = {f'backbone.{key}': value for key, value in source.state_dict().items()}
    torch.save({'state_dict': {**weights, 'neck.weight': torch.zeros(1)}, 'meta': {}}, file)
    target = TimmPyramid(SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    target.init_weights()
    torch.testing.assert_close(target.state_dict(), source.state_dict())


def test_weights_of_another_model_are_refused(tmp_path):
    file = tmp_path / 'other.pth'
    torch.save(timm.create_model('pvt_v2_b0', pretrained=False).state_dict(), file)
    backbone = TimmPyramid(SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    with pytest.raises(CheckpointError, match=r'other\.pth does not fit the backbone'):
        backbone.init_weights()


def test_random_weights_with_fixed_norms_are_warned_of(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'casvit_mm.models.backbone.print_log', lambda text, **_: messages.append(text)
    )
    for name in ('pvt_v2_b0', SMALL):
        TimmPyramid(name).init_weights()
    # PVTv2 has no batch norms.
    (message,) = messages
    assert message.startswith('resnet18 starts from random weights with norm_eval=True')


# What is refused


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(name='resnet19'), r"timm [\d.]+ has no such model; did you mean 'resnet18'"),
        (dict(name='hf_hub:timm/resnet18'), 'has no such model'),
        (dict(name='vit_tiny_patch16_224'), 'no features of stride 4, 8, 32'),
        (dict(name='efficientformerv2_s0'), 'takes images of one size only'),
        (
            dict(name='efficientvit_b0', drop_path_rate=0.1),
            "with {'drop_path_rate': 0.1}: .*drop_p",
        ),
        (dict(name=SMALL, options=dict(pretrained=True)), 'pretrained is set by'),
        (dict(name=SMALL, options=dict(checkpoint_path='a.pth')), 'weights come from init_cfg'),
        (dict(name=SMALL, out_indices=(0, 4)), 'out_indices'),
        (dict(name=SMALL, frozen_stages=5), 'frozen_stages'),
    ],
)
def test_what_cannot_be_a_backbone_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimmPyramid(**arguments)


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(MissingPackageError, match=r"pip install 'casvit-mm\[bench"):
        TimmPyramid(SMALL)
