"""The layout in memory that a run trains in."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.utils import digit_version
from torch import Tensor, nn

# In this version it was measured to be faster; between 2.1 and this one nothing was measured.
FAST_CHANNELS_LAST = digit_version('2.13')


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains the backbone channels last (NHWC), in which its convolutions on a CPU are faster.

    See :func:`to_channels_last`. A torch that is slower in that layout keeps the ordinary one:
    the gradient of a depthwise convolution takes torch 2.1 some thirty times as long in it.
    """

    def before_train(self, runner: Runner) -> None:
        """Converts the backbone in place."""
        if digit_version(torch.__version__) < FAST_CHANNELS_LAST:
            runner.logger.info(
                f'ChannelsLastHook: torch {torch.__version__} keeps the ordinary layout, '
                'in which it is faster.'
            )
            return
        to_channels_last(runner.model.module if is_model_wrapper(runner.model) else runner.model)


def to_channels_last(model: nn.Module) -> None:
    """Converts the backbone of a detector or segmentor to channels last (NHWC), in place.

    Neck and heads follow the layout of what they are given. Where the model has one of mmcv's
    operators, the features leave the backbone in the ordinary layout: RoIAlign, for one, takes no
    heed of strides on a CPU, and reads channels-last maps as if they were not. The function that
    the model computes, its state dict and its checkpoints stay the same.

    Args:
        model (nn.Module): Has a ``backbone`` that returns a sequence of (N, C, H, W) features.
    """
    model.backbone.to(memory_format=torch.channels_last)
    if any(type(module).__module__.startswith('mmcv.ops.') for module in model.modules()):
        model.backbone.register_forward_hook(ordinary_layout)


def ordinary_layout(_: nn.Module, __: Any, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Forward hook that hands features on in NCHW order in memory."""
    return tuple(feature.contiguous() for feature in features)
