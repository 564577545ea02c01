"""The layout in memory that a run trains in."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.utils import digit_version

from casvit_mm.models.memory_format import to_channels_last

# In this version it was measured to be faster; between 2.1 and this one nothing was measured.
FAST_CHANNELS_LAST = digit_version('2.13')


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains the backbone channels last (NHWC), in which its convolutions on a CPU are faster.

    See :func:`casvit_mm.models.memory_format.to_channels_last`. A torch that is slower in that
    layout keeps the ordinary one: the gradient of a depthwise convolution takes torch 2.1 some
    thirty times as long in it.
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
