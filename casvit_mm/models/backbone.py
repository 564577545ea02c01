"""What the backbones of this package share: first weights, frozen parts, and joined gradients."""

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, distributed, nn

from casvit_mm.models.checkpoint.init_cfg import split_pretrained
from casvit_mm.models.checkpoint.pretrained import load_pretrained_backbone
from casvit_mm.models.recomputation import recomputed

Self = TypeVar('Self', bound='Backbone')


class Backbone(BaseModule):
    """A backbone with ``frozen_stages`` and ``norm_eval``, and weights from a file.

    Args:
        init_cfg (dict | list[dict], optional): Initialisation; ``Pretrained`` files are read by
            this package's own reader.

    Attributes:
        name: Its name, for messages.
        norm_eval: Whether batch norms stay in eval mode while it trains.
        with_cp: Whether activations are computed again in the backward pass.
    """

    init_cfg: dict | list[dict] | None
    name: str
    norm_eval: bool
    with_cp: bool

    def init_weights(self) -> None:
        """Initialises the weights; a ``Pretrained`` file is read by this package's own reader.

        Raises:
            CheckpointError: The file cannot be read, or does not fit this backbone.
        """
        full_init_cfg = self.init_cfg
        pretrained, others = split_pretrained(full_init_cfg)
        if not pretrained and self._keeps_statistics():
            print_log(
                f'{self.name} starts from random weights with norm_eval=True: its batch norms will '
                'not normalise. Unless weights are loaded later, set norm_eval=False '
                '(tools/train.py --from-scratch does).',
                logger='current',
                level=logging.WARNING,
            )
        self.init_cfg = others
        super().init_weights()
        self.init_cfg = full_init_cfg
        for cfg in pretrained:
            load_pretrained_backbone(
                self, cfg['checkpoint'], cfg.get('prefix'), cfg.get('weights', 'model')
            )

    def train(self: Self, mode: bool = True) -> Self:
        """Sets the training mode, leaving frozen stages and, with ``norm_eval``, norms in eval."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in filter(is_batch_norm, self.modules()):
                module.eval()
        return self

    def _keeps_statistics(self) -> bool:
        """Whether statistics of norms stay as they are in training."""
        return self.norm_eval

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        """``block(x)``, with activation checkpointing if the backbone has it."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return recomputed(block, x)
        return block(x)

    def _freeze_stages(self) -> None:
        """Sets the frozen stages to eval mode, without gradients."""
        raise NotImplementedError


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm of any kind.

    Args:
        module: The module.
    """
    return isinstance(module, _BatchNorm)


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
