"""Counts of a comparison, against numbers counted by hand."""

import pytest
import torch
from torch import nn

from casvit.tables import channels
from casvit_mm.benchmark.flops import activations, macs, macs_by_operator
from casvit_mm.benchmark.subjects import first_features, first_mixer
from casvit_mm.comparison.facts import facts, growth_of_macs
from casvit_mm.models import TOKEN_MIXERS, CASViT

SIDES = (64, 96, 128)


def mixer_of(name):
    return first_mixer(CASViT('xs', mixer=dict(type=name)).eval())


def grown(name):
    return growth_of_macs(mixer_of(name), [(side**2, first_features('xs', side)) for side in SIDES])


def test_parameters_macs_and_activations_are_those_of_a_count_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False)
    )
    assert facts(model.eval(), side=10) == {
        'parameters': 8 * 27 + 8 + 4 * 8,
        'macs': 25 * 8 * 27 + 25 * 4 * 8,
        'activations': 25 * 8 + 25 * 4,
    }


def test_both_products_of_self_attention_are_counted():
    mixer = TOKEN_MIXERS.get('SelfAttentionMixer')(channels=12, num_heads=3).eval()
    features, positions = torch.rand(1, 12, 5, 4), 20
    assert macs(mixer, features) == positions * 4 * 12**2 + 2 * 12 * positions**2
    linear_layers, heads = positions * (36 + 12), 3 * positions**2 + positions * 12
    assert activations(mixer, features) == linear_layers + heads


def test_the_mixer_of_cas_vit_grows_linearly_and_the_products_of_self_attention_quadratically():
    cas, attention = grown('CASMixer'), grown('SelfAttentionMixer')
    assert cas['exponent'] == pytest.approx(1, abs=0.01)
    assert cas['steepest']['operator'] == 'conv'
    assert cas['steepest']['exponent'] == pytest.approx(1, abs=0.01)
    assert attention['steepest']['operator'] == 'scaled_dot_product_attention'
    assert attention['steepest']['exponent'] == pytest.approx(2, abs=1e-6)
    assert 1 < attention['exponent'] < 2


def test_the_mixer_of_cas_vit_has_the_macs_of_its_docstring():
    (width, *_), side = channels('xs'), 64
    counts = macs_by_operator(mixer_of('CASMixer'), first_features('xs', side))
    # The norms of the two gates, and the means of the two others, are counted apart.
    convolutions = counts['conv']
    per_position, per_image = 3 * width**2 + 4 * 9 * width + 2 * width, 2 * width**2
    assert convolutions == (side // 4) ** 2 * per_position + per_image


def test_a_mixer_without_macs_has_no_exponent():
    assert grown('IdentityMixer') is None and grown('PoolingMixer') is None
