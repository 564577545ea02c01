"""Folds batch norms with frozen statistics into the linear layers beside them, exactly.

In eval mode a batch norm is ``x * scale + shift``, one pair a channel. A convolution before it
takes both up, whatever its kernel; one behind it does where its kernel is 1x1 and nothing is
padded, because a padded zero would have to become a shift. The arithmetic is float64; what is
rounded in the end is the new weight.
"""

import copy

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn


def is_foldable(norm: nn.Module | None) -> bool:
    """Whether a layer is a batch norm that evaluates with statistics of its own."""
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch norm does to each channel in eval mode. Shape: two of ``(C,)``, float64."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale, shift


def fold_into_previous(convolution: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """One convolution that is ``norm(convolution(x))``; neither of the two is changed.

    Args:
        convolution: Any convolution.
        norm: A foldable norm of its output channels.
    """
    scale, shift = scale_and_shift(norm)
    weight = convolution.weight.detach().double() * scale.view(-1, 1, 1, 1)
    bias = shift
    if convolution.bias is not None:
        bias = bias + convolution.bias.detach().double() * scale
    return with_weights(convolution, weight, bias)


def fold_into_next(norm: nn.Module, layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
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
    scale, shift = scale_and_shift(norm)
    old = layer.weight.detach().double()
    others = (1,) * (old.dim() - 2)
    weight = old * scale.view(1, -1, *others)
    bias = old.flatten(1) @ shift
    if layer.bias is not None:
        bias = bias + layer.bias.detach().double()
    return with_weights(layer, weight, bias)


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is 1x1 without padding and groups."""
    ones, padding, groups = convolution.kernel_size, convolution.padding, convolution.groups
    return ones == (1, 1) and padding == (0, 0) and groups == 1


def with_weights(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A copy of a linear layer or convolution with other weights, in the old ones' type."""
    new = copy.deepcopy(layer)
    dtype = layer.weight.dtype
    new.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    new.bias = None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=False)
    return new
