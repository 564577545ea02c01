"""Frozen norms folded into convolutions while a backbone trains: same function, same gradients."""

import copy

import pytest
import torch
from small_models import fill_norms
from torch import nn

from casvit_mm.models import CASViT
from casvit_mm.speed.folded_norms import fold_frozen_norms


def pair(double=True, **options):
    """A backbone with statistics that are neither 0 nor 1, and a twin with its norms folded."""
    torch.manual_seed(0)
    backbone = CASViT(**{'arch': 'xs', **options})
    fill_norms(backbone)
    backbone = backbone.double() if double else backbone
    twin = copy.deepcopy(backbone)
    fold_frozen_norms(twin)
    return backbone.train(), twin.train()


def run(backbone, image):
    """Features, and the gradients of image and parameters."""
    torch.manual_seed(1)
    image = image.clone().requires_grad_()
    levels = backbone(image)
    sum(level.square().mean() for level in levels).backward()
    gradients = {name: p.grad for name, p in backbone.named_parameters()}
    return [*levels], {'image': image.grad, **gradients}


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(arch='s', out_indices=(1, 2, 3)),
        dict(drop_path_rate=0.5),
        dict(with_cp=True),
        dict(norm_eval=False),
        dict(frozen_stages=1),
        dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        dict(act_cfg=dict(type='ReLU')),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
    ],
    ids=str,
)
def test_features_and_all_gradients_stay_the_same(options):
    backbone, twin = pair(**options)
    image = torch.randn(2, 3, 65, 96, dtype=torch.float64)
    (levels, gradients), (twin_levels, twin_gradients) = run(backbone, image), run(twin, image)
    for level, other in zip(levels, twin_levels, strict=True):
        torch.testing.assert_close(other, level, rtol=1e-9, atol=1e-9)
    largest = max(g.abs().max() for g in gradients.values() if g is not None)
    for name, gradient in gradients.items():
        other = twin_gradients[name]
        assert (gradient is None) == (other is None), name
        if gradient is not None:
            assert (other - gradient).abs().max() <= 1e-10 * largest, name
    for (name, buffer), other in zip(backbone.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(other, buffer, rtol=1e-12, atol=1e-12, msg=name)


def test_frozen_norms_are_not_run(monkeypatch):
    _, twin = pair(double=False)
    runs = []
    monkeypatch.setattr(nn.BatchNorm2d, 'forward', lambda norm, x: runs.append(norm) or x)
    twin(torch.rand(1, 3, 64, 64))
    assert len(runs) == len(twin.out_norms)


def test_checkpoints_and_copies_are_those_of_any_backbone():
    backbone, twin = pair(double=False)
    assert backbone.state_dict().keys() == twin.state_dict().keys()
    image = torch.rand(1, 3, 64, 64)
    other = copy.deepcopy(twin)
    with torch.no_grad():
        before = twin(image)[0].clone()
        for parameter in other.parameters():
            parameter.zero_()
        assert other(image)[0].abs().max() == 0
        assert torch.equal(twin(image)[0], before)


def test_a_compiler_takes_it_in_one_graph():
    backbone = CASViT(dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8))).train()
    fold_frozen_norms(backbone)
    torch._dynamo.reset()
    explained = torch._dynamo.explain(backbone)(torch.rand(1, 3, 64, 64))
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)
