"""Lean models in half precision: the dense parts in fp16, everything about boxes in fp32."""

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from casvit_mm.deploy.lean.resizing import Resizing

DENSE = ('backbone', 'neck', 'head', 'rpn', 'box_head', 'mask_head')
"""Names of the dense parts of lean models."""


def in_half(module: nn.Module) -> nn.Module:
    """A copy of a lean model whose dense parts hold and compute fp16.

    Coordinates of boxes have more digits than fp16, and scores are compared with thresholds: both
    stay in fp32.

    Args:
        module: A lean model.
    """
    module = copy.deepcopy(module)
    network = module.network if isinstance(module, Resizing) else module
    for name in DENSE:
        part = getattr(network, name, None)
        if isinstance(part, nn.Module):
            part.half()
            part.forward = _converting(part.forward)
    return module


def _converting(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def converting(*args: Any) -> Any:
        answer = forward(*pytree.tree_map(_to(torch.float16), args))
        return pytree.tree_map(_to(torch.float32), answer)

    return converting


def _to(dtype: torch.dtype) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(dtype) if is_float else value

    return convert
