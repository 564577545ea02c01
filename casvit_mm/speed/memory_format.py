"""The memory layout of a model's tensors."""

from typing import Any

import torch
from torch import Tensor, nn

ONEDNN_BLOCK = 16
"""Channels that oneDNN computes together."""


def to_channels_last(model: nn.Module) -> None:
    """Converts the backbone of a model to channels last (NHWC), in place.

    Neck and heads use the layout of their inputs. mmcv's operators get the ordinary layout:
    RoIAlign, for example, ignores strides on a CPU and would misread channels-last features. The
    results of the model, its state dict and its checkpoints stay the same. A second call changes
    nothing.

    Args:
        model (nn.Module): A model with a ``backbone``.
    """
    backbone = model.get_submodule('backbone')
    # Torch's types leave this argument out.
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in model.modules():
        of_mmcv = type(module).__module__.startswith('mmcv.ops.')
        if of_mmcv and _ordinary_layout not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_ordinary_layout, with_kwargs=True)


def overrun(model: nn.Module) -> str:
    """The name of a convolution whose gradient would damage memory in channels last on a CPU.

    For 1x1 convolutions with a stride and fewer input channels than a block, oneDNN writes past its
    memory in the backward pass. The process dies some time later, often without a message.

    Args:
        model: A model.

    Returns:
        The first such convolution; '' if there is none.

    Source: https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and set(module.kernel_size) == {1}
            and max(module.stride) > 1
            and module.groups == 1
            and module.in_channels < ONEDNN_BLOCK
        ):
            return name
    return ''


def _ordinary_layout(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Forward pre-hook that makes input tensors contiguous in NCHW order."""
    return (
        tuple(_contiguous(value) for value in args),
        {key: _contiguous(value) for key, value in kwargs.items()},
    )


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
