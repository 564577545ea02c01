"""Folds batch norms with frozen statistics into the linear layers beside them, exactly.

In eval mode a batch norm is ``x * scale + shift``, one pair a channel. A convolution before it
takes both up, whatever its kernel; one behind it does if its kernel is 1x1 and nothing is
padded, because a padded zero would have to become a shift. The arithmetic is float64; what is
rounded in the end is the new weight.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from casvit_mm.models.conv_norm import before, behind

Layer = TypeVar('Layer', nn.Conv2d, nn.Linear)


@torch.no_grad()
def fold_into_previous(convolution: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """One convolution that is ``norm(convolution(x))``; neither of the two is changed.

    Args:
        convolution: Any convolution.
        norm: A foldable norm of its output channels.
    """
    return with_weights(convolution, *behind(*exact_weights(convolution), norm))


@torch.no_grad()
def fold_into_next(norm: nn.Module, layer: Layer) -> Layer:
    """One layer that is ``layer(norm(x))``; neither of the two is changed.

    Args:
        norm: A foldable norm of the layer's input channels.
        layer: A linear layer, or a convolution of kernel 1x1 without padding or groups.

    Raises:
        ValueError: The convolution has a larger kernel, padding or groups.
    """
    if isinstance(layer, nn.Conv2d) and not is_pointwise(layer):
        raise ValueError(
            f'a norm in front of {layer} cannot be folded into it: only a 1x1 convolution without '
            'padding and groups sees every position alike'
        )
    return with_weights(layer, *before(norm, *exact_weights(layer)))


def exact_weights(layer: nn.Conv2d | nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Weight and bias in float64."""
    bias = layer.bias
    return layer.weight.double(), None if bias is None else bias.double()


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is 1x1 without padding and groups."""
    ones, padding, groups = convolution.kernel_size, convolution.padding, convolution.groups
    return ones == (1, 1) and padding == (0, 0) and groups == 1


def with_weights(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """A copy of a linear layer or convolution with other weights, in the old ones' type."""
    new = copy.deepcopy(layer)
    dtype = layer.weight.dtype
    new.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    new.register_parameter(
        'bias', None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=False)
    )
    return new
