"""The layout of a model's tensors in memory."""

from typing import Any

import torch
from torch import Tensor, nn


def to_channels_last(model: nn.Module) -> None:
    """Converts the backbone of a model to channels last (NHWC), in place.

    Neck and heads follow the layout of what they are given. mmcv's operators are given the
    ordinary layout: RoIAlign, for one, takes no heed of strides on a CPU, and reads channels-last
    maps as if they were not. The function that the model computes, its state dict and its
    checkpoints stay the same. Called twice, it changes nothing more.

    Args:
        model (nn.Module): Has a ``backbone``.
    """
    model.backbone.to(memory_format=torch.channels_last)
    for module in model.modules():
        of_mmcv = type(module).__module__.startswith('mmcv.ops.')
        if of_mmcv and _ordinary_layout not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_ordinary_layout, with_kwargs=True)


def _ordinary_layout(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Forward pre-hook that hands tensors on in NCHW order in memory."""
    return (
        tuple(_contiguous(value) for value in args),
        {key: _contiguous(value) for key, value in kwargs.items()},
    )


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
