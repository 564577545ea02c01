"""HorNet of mmpretrain as a backbone: features, freezing, weights, and what is refused."""

import pytest
import torch
from torch import nn

from casvit.errors import CheckpointError, MissingPackageError
from casvit.tables import channels
from casvit_mm.models import CASViT, HorNetPyramid

pytest.importorskip('mmpretrain.models')
TINY = 'hornet_tiny'


@pytest.fixture(scope='module')
def theirs():
    """The backbone of mmpretrain, with scales of its branches that let them be seen."""
    from mmpretrain.models import HorNet

    torch.manual_seed(0)
    network = HorNet('tiny', out_indices=(0, 1, 2, 3), gap_before_final_norm=False)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if 'gamma' in name:
                value.fill_(0.5)
    network.eval()
    return network


def weights_of(network):
    return {f'backbone.{key}': value for key, value in network.state_dict().items()}


def with_weights_of(network, backbone):
    weights = network.state_dict()
    assert not backbone.adapt_state_dict(weights)
    backbone.load_state_dict(weights, strict=False)
    return backbone


def saved(file, weights):
    torch.save({'state_dict': weights, 'meta': {}}, file)
    return dict(type='Pretrained', checkpoint=str(file))


def test_features_are_those_of_mmpretrain_for_images_of_odd_sizes(theirs):
    backbone = with_weights_of(theirs, HorNetPyramid(TINY, out_indices=(1, 3)).eval())
    image = torch.rand(2, 3, 70, 90)
    with torch.no_grad():
        ours, wanted = backbone(image), theirs(image)
    torch.testing.assert_close([*ours], [wanted[1], wanted[3]], rtol=0, atol=0)
    assert [tuple(level.shape[2:]) for level in wanted] == [(17, 22), (8, 11), (4, 5), (2, 2)]
    assert backbone.out_channels == (128, 512)
    assert [level.shape[1] for level in wanted] == channels(TINY)


def test_stages_behind_the_last_output_are_not_built():
    short = HorNetPyramid(TINY, out_indices=(0, 1)).train()
    sum(level.mean() for level in short(torch.rand(1, 3, 64, 64))).backward()
    assert all(value.grad is not None for value in short.parameters())
    assert short.out_channels == (64, 128)


def test_images_of_other_bands_drop_path_and_options_reach_mmpretrain():
    backbone = HorNetPyramid(
        TINY, in_channels=5, drop_path_rate=0.2, options=dict(use_layer_scale=False)
    )
    assert backbone.eval()(torch.rand(1, 5, 64, 64))[0].shape[1] == 64
    rates = [module.drop_prob for module in backbone.modules() if hasattr(module, 'drop_prob')]
    assert max(rates) == pytest.approx(0.2)
    assert not any('gamma' in name for name, _ in backbone.named_parameters())


def test_global_filters_take_images_of_any_size():
    levels = HorNetPyramid('hornet_tiny_gf').eval()(torch.rand(1, 3, 96, 160))
    assert [tuple(level.shape[2:]) for level in levels] == [(24, 40), (12, 20), (6, 10), (3, 5)]


def test_recomputed_activations_give_the_same_gradients(theirs):
    gradients = []
    for with_cp in (False, True):
        backbone = with_weights_of(theirs, HorNetPyramid(TINY, with_cp=with_cp).train())
        torch.manual_seed(1)
        sum(level.square().mean() for level in backbone(torch.rand(2, 3, 64, 64))).backward()
        gradients.append([value.grad for value in backbone.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('frozen', [-1, 0, 1, 4])
def test_frozen_stages_are_those_that_come_first(frozen):
    backbone = HorNetPyramid(TINY, out_indices=(0, 2, 3), frozen_stages=frozen, drop_path_rate=0.1)
    backbone.train()
    for name, value in backbone.network.named_parameters():
        part, stage = name.split('.')[0], name.split('.')[1]
        if part.startswith('norm'):
            stage = part.removeprefix('norm')
        still = int(stage) < frozen or (
            frozen == 0 and part == 'downsample_layers' and stage == '0'
        )
        assert value.requires_grad != still, name
    for index, stage in enumerate(backbone.network.stages):
        assert stage.training == (index >= frozen)
    levels = backbone(torch.rand(1, 3, 64, 64))
    assert [level.requires_grad for level in levels] == [index >= frozen for index in (0, 2, 3)]


def test_weights_as_mmpretrain_publishes_them_are_loaded(theirs, tmp_path):
    # A classifier has a norm of its pooled features only, and a head.
    others = ('backbone.norm0.', 'backbone.norm1.', 'backbone.norm2.')
    weights = {
        key: torch.full_like(value, 7) if key.startswith('backbone.norm3.') else value
        for key, value in weights_of(theirs).items()
        if not key.startswith(others)
    }
    weights |= {'head.fc.weight': torch.zeros(1000, 512), 'head.fc.bias': torch.zeros(1000)}
    backbone = HorNetPyramid(TINY, init_cfg=saved(tmp_path / 'hornet.pth', weights))
    backbone.init_weights()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        # The norms of both are new.
        torch.testing.assert_close(backbone.eval()(image), theirs(image), rtol=0, atol=0)


def test_a_backbone_of_mmpretrain_in_a_detector_is_loaded_with_its_norms(theirs, tmp_path):
    weights = weights_of(theirs)
    weights['backbone.norm2.bias'] = torch.full((256,), 7.0)
    init_cfg = saved(tmp_path / 'detector.pth', {**weights, 'neck.weight': torch.zeros(1)})
    backbone = HorNetPyramid(TINY, out_indices=(1, 2, 3), init_cfg=init_cfg)
    backbone.init_weights()
    assert (backbone.out_norms['2'].bias == 7).all()


def test_the_backbone_of_a_run_of_this_package_is_loaded(tmp_path):
    source = HorNetPyramid(TINY)
    init_cfg = saved(tmp_path / 'epoch_1.pth', weights_of(source))
    target = HorNetPyramid(TINY, init_cfg=init_cfg)
    target.init_weights()
    torch.testing.assert_close(target.state_dict(), source.state_dict())


def test_weights_of_another_model_are_refused(tmp_path):
    init_cfg = saved(tmp_path / 'other.pth', weights_of(CASViT('xs')))
    with pytest.raises(CheckpointError, match=r'other\.pth does not fit the backbone'):
        HorNetPyramid(TINY, init_cfg=init_cfg).init_weights()


def test_it_has_no_batch_norms_so_random_weights_are_not_warned_of(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'casvit_mm.models.backbone.print_log', lambda text, **_: messages.append(text)
    )
    backbone = HorNetPyramid(TINY)
    backbone.init_weights()
    assert not messages
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(name='hornet_t'), 'no such HorNet; there are hornet_tiny, hornet_tiny_gf, hornet_s'),
        (dict(name='tiny'), 'no such HorNet'),
        (dict(name=None), 'name=None: mmpretrain has no such HorNet'),
        (dict(name=TINY, options=dict(arch='base')), 'arch is set by HorNetPyramid'),
        (dict(name=TINY, options=dict(colour=1)), "options={'colour': 1}: .*colour"),
        (dict(name=TINY, out_indices=(0, 4)), 'out_indices'),
        (dict(name=TINY, frozen_stages=5), 'frozen_stages'),
    ],
)
def test_what_cannot_be_a_backbone_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        HorNetPyramid(**arguments)


def test_without_mmpretrain_the_error_says_what_to_install(monkeypatch):
    from casvit_mm.models import optional

    monkeypatch.setitem(__import__('sys').modules, 'mmpretrain.models', None)
    optional.import_error.cache_clear()
    with pytest.raises(MissingPackageError, match='install onedl-mmpretrain'):
        HorNetPyramid(TINY)
    optional.import_error.cache_clear()
