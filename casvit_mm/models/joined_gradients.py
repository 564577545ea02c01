"""Gradients for features that nobody reads, which distributed training waits for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


class JoinedGradients(torch.autograd.Function):
    """Passes features on; in the backward pass, those that nobody read get a gradient of zero."""

    @staticmethod
    def forward(ctx: Any, *features: Tensor) -> tuple[Tensor, ...]:
        return tuple(feature.view_as(feature) for feature in features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        # torch has put zeros in place of gradients that did not arrive.
        return gradients


def join_gradients(features: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Features that all get a gradient as soon as one of them does, in a run of several processes.

    DistributedDataParallel waits for the gradient of every parameter, and stops at the second step
    if a head leaves a level unused: a pyramid that starts at the second level, or a head that reads
    the last one. A backbone cannot know its head when it is built. A run of one process waits for
    nothing, and its features pass as they are.

    Args:
        features: The levels. Shape: ``(B, C_i, H_i, W_i)`` each.

    Returns:
        The same values, bit for bit, and the same gradients.
    """
    trained = [index for index, feature in enumerate(features) if feature.requires_grad]
    if len(trained) < 2 or not _has_several_processes():
        return tuple(features)
    joined = list(features)
    for index, feature in zip(
        trained, JoinedGradients.apply(*(features[index] for index in trained)), strict=True
    ):
        joined[index] = feature
    return tuple(joined)


def _has_several_processes() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
