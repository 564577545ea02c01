"""A separable convolution takes the place of a dense one in mm*'s necks and heads."""

import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from torch import nn

import casvit_mm  # noqa: F401
from casvit_mm.deploy.folding import fold_into_previous
from casvit_mm.models import SeparableConv2d

SEPARABLE = dict(type='SeparableConv2d')


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kernel, padding', [(3, 1), (5, 0), ((1, 3), (0, 1))])
def test_the_output_has_the_shape_of_a_dense_convolution(kernel, padding, stride):
    x = torch.rand(2, 6, 13, 17)
    options = dict(stride=stride, padding=padding)
    separable = build_conv_layer(SEPARABLE, 6, 10, kernel, **options)
    assert isinstance(separable, SeparableConv2d)
    assert separable(x).shape == nn.Conv2d(6, 10, kernel, **options)(x).shape


def test_it_is_a_depthwise_and_a_pointwise_convolution():
    separable = SeparableConv2d(6, 10, 3, padding=1)
    x = torch.rand(1, 6, 9, 9)
    filters, mixing = separable.depthwise.weight, separable.weight
    channels = [
        torch.nn.functional.conv2d(x[:, [c]], filters[[c]], padding=1)[0, 0] for c in range(6)
    ]
    expected = torch.einsum('oc,chw->ohw', mixing[:, :, 0, 0], torch.stack(channels))
    torch.testing.assert_close(separable(x)[0], expected + separable.bias[:, None, None])
    assert sum(p.numel() for p in separable.parameters()) == 6 * 9 + 6 * 10 + 10


def test_a_kernel_of_one_is_an_ordinary_convolution():
    separable = SeparableConv2d(6, 10, 1, bias=False)
    x = torch.rand(1, 6, 5, 5)
    expected = torch.nn.functional.conv2d(x, separable.weight)
    torch.testing.assert_close(separable(x), expected)
    assert list(dict(separable.named_parameters())) == ['weight']


def test_groups_are_refused():
    with pytest.raises(ValueError, match='groups=2'):
        SeparableConv2d(6, 10, 3, groups=2)


def test_a_norm_behind_it_is_folded():
    torch.manual_seed(0)
    module = ConvModule(6, 10, 3, padding=1, conv_cfg=SEPARABLE, norm_cfg=dict(type='BN'))
    module.bn.running_mean.uniform_()
    module.bn.running_var.uniform_(0.5, 2)
    module.eval()
    x = torch.rand(2, 6, 9, 9)
    folded = fold_into_previous(module.conv, module.bn)
    with torch.no_grad():
        torch.testing.assert_close(folded(x).relu(), module(x), atol=1e-6, rtol=1e-5)
