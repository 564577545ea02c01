"""The forward pass that all speed-ups are compared with."""

import copy

import numpy as np
import published
import pytest
import torch

from casvit_mm.benchmark.reference import Reference
from casvit_mm.models import CASViT


@pytest.mark.parametrize('size', published.SIZES)
def test_it_matches_the_published_implementation(size):
    backbone = CASViT(size).eval()
    backbone.load_state_dict(published.weights(size, 'backbone'))
    golden = published.outputs()
    with torch.no_grad():
        levels = Reference(backbone)(published.image(96, 128, 2))
    for index, level in enumerate(levels):
        expected = golden[f'{size}/backbone/level{index}']
        assert np.abs(level[:, ::8].numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize('norm_eval', [True, False])
def test_the_backbone_is_bit_identical_forward_and_backward(norm_eval):
    torch.manual_seed(0)
    backbone = CASViT('xs', norm_eval=norm_eval, out_indices=(1, 3)).train()
    twin = copy.deepcopy(backbone)
    image = torch.randn(2, 3, 65, 96)
    for model in (backbone, Reference(twin)):
        sum(level.square().mean() for level in model(image)).backward()
    for (name, parameter), other in zip(
        backbone.named_parameters(), twin.parameters(), strict=True
    ):
        assert torch.equal(parameter.grad, other.grad), name
    for (name, buffer), other in zip(backbone.named_buffers(), twin.buffers(), strict=True):
        assert name.endswith('num_batches_tracked') or torch.equal(buffer, other), name
