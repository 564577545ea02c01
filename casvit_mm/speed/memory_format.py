"""The memory layout of a model's tensors."""

from typing import Any

import torch
from torch import Tensor, nn


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
