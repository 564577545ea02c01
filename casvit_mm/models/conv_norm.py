"""Batch norms with frozen statistics, taken up by the convolutions beside them.

Such a norm is ``x * scale + shift``. Applied to the weights of the convolution before it, or of the
1x1 convolution behind it, instead of to the feature map, it costs next to nothing, forward and
backward. Scale and shift stay parameters and get the same gradients.
"""

from typing import Any

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torch.nn import functional


class ConvNorms(nn.Sequential):
    """Layers in a row, with batch norms right behind convolutions. Shape: as of its layers.

    Frozen norms are folded once ``folds_norms`` is true, as
    :func:`casvit_mm.speed.folded_norms.fold_frozen_norms` sets it.
    """

    folds_norms = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.folds_norms:
            return super().forward(x)
        layers = [*self, None]
        # By number: the compiler of torch 2.1 traces neither pairwise() nor zip(strict=True).
        for index, layer in enumerate(layers[:-1]):
            following = layers[index + 1]
            if is_frozen(following):
                weight, bias = behind(layer.weight, layer.bias, following)
                shape = layer.stride, layer.padding, layer.dilation, layer.groups
                x = functional.conv2d(x, weight, bias, *shape)
            elif not is_frozen(layer):
                x = layer(x)
        return x


def norm_conv(norm: nn.Module, conv: nn.Conv2d, x: Tensor, parts: int = 1) -> list[Tensor]:
    """``conv(norm(x))`` as one 1x1 convolution, of a frozen norm.

    Args:
        norm: The norm.
        conv: The convolution.
        x: Shape: ``(B, C, H, W)``.
        parts: How many parts the output comes in. Each has a convolution of its own: parts of
            one's output would have to be copied for what comes next.

    Returns:
        The parts. Shape: ``(B, O / parts, H, W)`` each.
    """
    weight, bias = before(norm, conv.weight, conv.bias)
    weights, biases = weight.chunk(parts), bias.chunk(parts)
    return [functional.conv2d(x, weights[part], biases[part]) for part in range(parts)]


def scale_and_shift(norm: Any, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """What a batch norm with its own statistics does to each channel.

    Args:
        norm: The norm.
        dtype: What to compute in; that of the norm if None.

    Returns:
        Scale and shift, which the norm's parameters get gradients through. Shape: ``(C,)`` each.
    """
    mean, variance = norm.running_mean.to(dtype), norm.running_var.to(dtype)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.to(dtype)
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.to(dtype)
    return scale, shift


def behind(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that the norm behind it was folded into.

    Shape: ``(C, I, K, K)`` and ``(C,)``, of a norm of C channels.
    """
    scale, shift = scale_and_shift(norm, weight.dtype)
    bias = shift if bias is None else shift + bias * scale
    return weight * scale.view(-1, 1, 1, 1), bias


def before(norm: nn.Module, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1x1 convolution or linear layer that the norm before it was folded into.

    Shape: ``(O, C, ...)`` and ``(O,)``, of a norm of C channels.
    """
    scale, shift = scale_and_shift(norm, weight.dtype)
    moved = weight.flatten(1) @ shift
    folded = weight * scale.view(1, -1, *(1,) * (weight.dim() - 2))
    return folded, moved if bias is None else moved + bias


def is_foldable(norm: nn.Module | None) -> bool:
    """Whether a layer is a batch norm that evaluates with statistics of its own."""
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def is_frozen(norm: nn.Module | None) -> bool:
    """Whether a layer is a batch norm that works with statistics of its own now."""
    return norm is not None and is_foldable(norm) and not norm.training
