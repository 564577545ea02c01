"""CASViT: what the golden arrays cannot see."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import MODELS
from torch import nn

from casvit_mm.models import ARCHITECTURES, TOKEN_MIXERS, CASViT
from casvit_mm.models.arguments import linear_drop_path

PARAMETERS = {'xs': 2_759_132, 's': 5_250_704, 'm': 11_652_224, 't': 20_738_080, 'l': 27_106_432}
TINY = dict(depths=(1, 1, 2, 1), channels=(8, 8, 16, 16))


@pytest.mark.parametrize('size', ARCHITECTURES)
def test_every_size_has_the_published_number_of_parameters(size):
    assert sum(p.numel() for p in CASViT(size).parameters()) == PARAMETERS[size]


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmpretrain'])
def test_every_toolbox_builds_it_by_name(scope):
    if scope != 'mmengine':
        pytest.importorskip(scope)
        registry = pytest.importorskip(f'{scope}.registry').MODELS
    else:
        registry = MODELS
    backbone = registry.build(dict(type='CASViT', arch=TINY))
    assert isinstance(backbone, CASViT)


@settings(max_examples=25)
@given(height=st.integers(33, 100), width=st.integers(33, 100))
def test_any_input_size_gives_strides_4_to_32(height, width):
    backbone = CASViT(TINY).eval()
    with torch.no_grad():
        levels = backbone(torch.zeros(1, 3, height, width))
    for level, stride, channels in zip(levels, (4, 8, 16, 32), TINY['channels'], strict=True):
        assert level.shape == (1, channels, -(-height // stride), -(-width // stride))


def test_levels_come_from_the_stages_asked_for():
    backbone = CASViT(TINY, out_indices=(1, 3)).eval()
    everything = CASViT(TINY).eval()
    everything.load_state_dict(backbone.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        some, every = backbone(image), everything(image)
    assert torch.equal(some[0], every[1])
    assert torch.equal(some[1], every[3])


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, 2, 3), (0,), (1, 2)])
def test_every_parameter_gets_a_gradient(out_indices):
    backbone = CASViT(TINY, out_indices=out_indices).train()
    sum(level.square().mean() for level in backbone(torch.rand(2, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_norms_use_the_published_epsilon_and_momentum():
    norms = [m for m in CASViT('xs').modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}


def test_activations_are_the_exact_gelu_and_relu():
    activations = [m for m in CASViT('xs').modules() if isinstance(m, (nn.GELU, nn.ReLU))]
    assert {getattr(m, 'approximate', 'none') for m in activations} == {'none'}
    depth = sum(ARCHITECTURES['xs'].depths)
    assert sum(isinstance(m, nn.GELU) for m in activations) == 2 * depth
    assert sum(isinstance(m, nn.ReLU) for m in activations) == 2 * depth + 2


def test_drop_path_rises_linearly_over_the_whole_network():
    rates = linear_drop_path(0.1, (3, 3, 6, 3))
    flat = [rate for stage in rates for rate in stage]
    assert [len(stage) for stage in rates] == [3, 3, 6, 3]
    assert flat == pytest.approx([0.1 * j / 14 for j in range(15)])
    backbone = CASViT('m', drop_path_rate=0.1)
    built = [getattr(b.drop_path, 'drop_prob', 0.0) for stage in backbone.stages for b in stage]
    assert built == pytest.approx(flat)


def test_drop_path_is_drawn_per_sample_and_per_branch_and_scaled():
    torch.manual_seed(0)
    backbone = CASViT(TINY, drop_path_rate=0.5).train()
    block = backbone.stages[3][0]
    assert block.drop_path.drop_prob == 0.5
    block.local_integration = Zero()
    block.mixer_norm = block.mlp_norm = nn.Identity()
    block.mixer, block.mlp = Constant(1.0), Constant(10.0)
    out = block(torch.zeros(4096, 16, 1, 1))[:, 0, 0, 0]
    values, counts = out.unique(return_counts=True)
    assert values.tolist() == [0, 2, 20, 22]
    assert (counts / 4096 - 0.25).abs().max() < 0.03
    assert torch.equal(block.eval()(torch.zeros(1, 16, 1, 1)), torch.full((1, 16, 1, 1), 11.0))


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full_like(x, self.value)


def test_convolutions_start_as_pytorch_makes_them():
    torch.manual_seed(0)
    conv = CASViT('xs').stages[3][0].mlp.fc1
    bound = conv.in_channels**-0.5
    assert conv.weight.abs().max() <= bound
    assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert conv.bias.abs().max() <= bound


def test_norm_eval_freezes_statistics_but_trains_scale_and_shift():
    backbone = CASViT(TINY, norm_eval=True).train()
    before = copy.deepcopy(backbone.state_dict())
    sum(level.mean() for level in backbone(torch.rand(2, 3, 64, 64))).backward()
    after = backbone.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if 'running' in k)
    assert all(
        m.weight.grad is not None for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)
    )


def test_without_norm_eval_statistics_move():
    backbone = CASViT(TINY, norm_eval=False).train()
    before = copy.deepcopy(backbone.state_dict())
    backbone(torch.rand(2, 3, 64, 64))
    after = backbone.state_dict()
    assert not any(torch.equal(before[k], after[k]) for k in before if 'running_mean' in k)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 4])
def test_frozen_stages_have_no_gradient_and_stay_in_eval_mode(frozen_stages):
    backbone = CASViT(TINY, frozen_stages=frozen_stages, norm_eval=False).train()
    parts = [backbone.stem]
    for index in range(4):
        part = [backbone.stages[index], backbone.out_norms[str(index)]]
        parts.append(nn.ModuleList(part + ([backbone.patch_embeds[index - 1]] if index else [])))
    for number, part in enumerate(parts):
        frozen = number <= frozen_stages
        assert all(p.requires_grad != frozen for p in part.parameters())
        norms = [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(norm.training != frozen for norm in norms)


@pytest.mark.parametrize('norm_eval', [True, False])
def test_activation_checkpointing_changes_no_number(norm_eval):
    torch.manual_seed(0)
    plain = CASViT(TINY, drop_path_rate=0.3, norm_eval=norm_eval).train()
    saving = CASViT(TINY, drop_path_rate=0.3, norm_eval=norm_eval, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    image = torch.rand(3, 3, 64, 64)
    for backbone in (plain, saving):
        torch.manual_seed(1)
        sum(level.square().mean() for level in backbone(image)).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for name, value in plain.state_dict().items():
        assert torch.equal(value, saving.state_dict()[name]), name


def test_another_mixer_takes_the_slot():
    name = 'IdentityMixerOfATest'

    @TOKEN_MIXERS.register_module(name=name)
    class IdentityMixer(nn.Module):
        def __init__(self, channels, norm_cfg, bias=0.0):
            super().__init__()
            self.channels, self.bias = channels, bias

        def forward(self, x):
            return x + self.bias

    try:
        backbone = CASViT(TINY, mixer=dict(type=name, bias=2.0))
        mixers = [block.mixer for stage in backbone.stages for block in stage]
        assert [m.channels for m in mixers] == [8, 8, 16, 16, 16]
        assert {m.bias for m in mixers} == {2.0}
        backbone.eval()(torch.rand(1, 3, 32, 32))
    finally:
        TOKEN_MIXERS.module_dict.pop(name)


def test_norm_and_activation_follow_the_config():
    backbone = CASViT(TINY, norm_cfg=dict(type='GN', num_groups=4), act_cfg=dict(type='SiLU'))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert not any(isinstance(m, nn.GELU) for m in backbone.modules())


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(arch='xxl'), 'xs, s, m, t, l'),
        (dict(arch=dict(depths=(1, 1, 1), channels=(8, 8, 8))), '4 positive integers'),
        (dict(arch=dict(depths=(1, 1, 1, 1))), 'depths=(2, 2, 4, 2), channels='),
        (dict(arch=dict(depths=(1, 1, 1, 1), channels=(7, 8, 8, 8))), 'even'),
        (dict(in_channels=0), 'positive'),
        (dict(out_indices=(0, 4)), '0, 1, 2, 3'),
        (dict(out_indices=()), '0, 1, 2, 3'),
        (dict(out_indices=(2, 1)), 'ascending'),
        (dict(drop_path_rate=1.0), '< 1'),
        (dict(frozen_stages=5), '1 to 4'),
        (dict(mixer=dict(type='Attention')), 'CASMixer'),
    ],
)
def test_wrong_values_are_refused_with_the_right_ones(arguments, said):
    with pytest.raises(ValueError, match=r'.') as error:
        CASViT(**{'arch': TINY, **arguments})
    assert said in str(error.value)


def test_cost_is_linear_in_the_number_of_pixels():
    from torch.utils.flop_counter import FlopCounterMode

    backbone = CASViT('xs').eval()

    def flops(side):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            backbone(torch.zeros(1, 3, side, side))
        return counter.get_total_flops()

    channel_gates = 2 * sum(2 * n * c * c for n, c in zip(*ARCHITECTURES['xs'][:2], strict=True))
    assert flops(512) - channel_gates == 4 * (flops(256) - channel_gates)


def test_multiply_accumulates_are_the_published_ones():
    from torch.utils.flop_counter import FlopCounterMode

    published = {'xs': 0.547, 's': 0.912, 'm': 1.859, 't': 3.557, 'l': 4.626}
    for size, expected in published.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            CASViT(size).eval()(torch.zeros(1, 3, 224, 224))
        one_head = 1000 * ARCHITECTURES[size].channels[-1]
        macs = counter.get_total_flops() / 2 + one_head
        assert macs / 1e9 == pytest.approx(expected, abs=6e-4), size
