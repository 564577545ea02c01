"""What makes a training run faster without another result: the ``speed`` of a config."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.utils import digit_version
from torch import nn

from casvit.errors import UserError
from casvit_mm.models import CASViT
from casvit_mm.speed.dense_parts import PRECISIONS, compiled
from casvit_mm.speed.folded_norms import fold_frozen_norms, is_frozen_in
from casvit_mm.speed.freed_memory import keep_freed_memory
from casvit_mm.speed.matrix_products import gains_from
from casvit_mm.speed.memory_format import to_channels_last

# In this version it was measured to be faster; between 2.1 and this one nothing was measured.
FAST_CHANNELS_LAST = digit_version('2.13')
# From these on torch has them in one pass: on GPUs, and on a CPU.
FUSED_OPTIMIZERS = {'cuda': digit_version('2.1'), 'cpu': digit_version('2.4')}
WITH_FUSED = ('Adam', 'AdamW', 'SGD')


class SpeedError(UserError, ValueError):
    """A config's ``speed`` asks for what is not there; the message is the whole explanation."""


@dataclass(frozen=True)
class TrainingSpeed:
    """What is done to make a training run faster; a config's ``speed`` has these as its keys.

    Attributes:
        channels_last: Train the backbone in NHWC order in memory, in which its convolutions are
            faster. A torch that is slower in that order keeps the ordinary one: before 2.13 on a
            CPU, where the gradient of a depthwise convolution takes torch 2.1 some thirty times
            as long.
        fold_norms: Let convolutions take up the frozen norms beside them; see
            :func:`casvit_mm.speed.folded_norms.fold_frozen_norms`. Without effect where norms
            are trained (``norm_eval=False``).
        fused_optimizer: Update all weights in one pass where torch can (Adam, AdamW, SGD), in as
            few groups as there are different options. A run resumes with the value that it began
            with.
        compile: Compile the backbone, forward and backward, with ``torch.compile``. The first
            step takes minutes on a CPU. Validation is not compiled.
        precision: What the dense parts compute in: a key of
            :data:`casvit_mm.speed.dense_parts.PRECISIONS`. In a config also ``'auto'``: bf16 where
            the device is faster in it, see
            :func:`casvit_mm.speed.matrix_products.gains_from`, else fp32. fp16 needs a GPU.
            A config with an ``optim_wrapper`` other than OptimWrapper keeps that one's
            precision.
        keep_memory: Have the process keep freed memory for the next step; see
            :func:`casvit_mm.speed.freed_memory.keep_freed_memory`. Without effect on a GPU.

    Raises:
        SpeedError: The precision is not known.
    """

    channels_last: bool = False
    fold_norms: bool = False
    fused_optimizer: bool = False
    compile: bool = False
    precision: str = 'fp32'
    keep_memory: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SpeedError(
                f'speed.precision={self.precision!r} is unknown; known: '
                f'{", ".join(PRECISIONS)}, auto'
            )

    @classmethod
    def of(cls, options: dict[str, Any]) -> 'TrainingSpeed':
        """Reads a config's ``speed``, for this machine.

        Args:
            options: Attributes; the precision may be ``'auto'``.

        Raises:
            SpeedError: A key or value is not known, or fp16 is wanted and there is no GPU.
        """
        known = [field.name for field in fields(cls)]
        unknown = [key for key in options if key not in known]
        if unknown:
            raise SpeedError(f'speed has no {", ".join(unknown)}; it has {", ".join(known)}.')
        device = get_device()
        if options.get('precision') == 'auto':
            options = {
                **options,
                'precision': 'bf16' if gains_from(device, torch.bfloat16) else 'fp32',
            }
        speed = cls(**options)
        if speed.precision == 'fp16' and device == 'cpu':
            raise SpeedError(
                "speed.precision='fp16' needs a GPU; a CPU trains in 'bf16' or 'fp32'."
            )
        return speed


def train_faster(
    model: nn.Module, speed: TrainingSpeed, tell: Callable[[str], None] | None = None
) -> None:
    """Prepares a model to be trained faster, in place; parameters, buffers and their names stay.

    May be called again, as a second training of one runner does: nothing is done twice.

    Args:
        model: Has a ``backbone``, with its weights, where it is to be trained.
        speed: What to do, but for the optimiser and the precision: those are the optimiser
            wrapper's, see :func:`faster_optimizer`.
        tell: Is given a sentence on what cannot be done, or takes long.
    """
    tell = tell or (lambda sentence: None)
    if speed.keep_memory and not keep_freed_memory():
        tell('speed.keep_memory: only the C library of Linux (glibc) can be asked for that.')
    if speed.channels_last:
        _channels_last(model, tell)
    if speed.fold_norms:
        _fold(model, tell)
    if speed.compile and not hasattr(model.backbone.forward, 'in_training'):
        model.backbone.forward = in_training_only(
            compiled(model.backbone.forward, **compiler_options(model)), model.backbone.forward
        )
        tell('The backbone is compiled: the first steps take minutes.')


def compiler_options(model: nn.Module) -> dict[str, Any]:
    """What ``torch.compile`` is to be told to compile a training step on the model's device.

    Args:
        model: The model, on the device that it is trained on.

    Returns:
        Keyword arguments of ``torch.compile``.
    """
    if not _is_on_cpu(model) or digit_version(torch.__version__) < FAST_CHANNELS_LAST:
        return {}
    # The compiler chooses NHWC for graphs with convolutions. A backward graph has none, only their
    # gradients: left alone, it copies the input of each depthwise one into an order between NHWC
    # and NCHW, and the gradient's operator copies it back.
    return {'options': {'force_layout_optimization': True}}


def _channels_last(model: nn.Module, tell: Callable[[str], None]) -> None:
    if _is_on_cpu(model) and digit_version(torch.__version__) < FAST_CHANNELS_LAST:
        tell(
            f'speed.channels_last: torch {torch.__version__} keeps the ordinary layout, in which '
            'it is faster.'
        )
        return
    to_channels_last(model)


def _is_on_cpu(model: nn.Module) -> bool:
    return next(model.parameters()).device.type == 'cpu'


def _fold(model: nn.Module, tell: Callable[[str], None]) -> None:
    backbone = model.backbone
    if not isinstance(backbone, CASViT) or not is_frozen_in(backbone):
        tell('speed.fold_norms: nothing to fold, the norms of the backbone are trained.')
        return
    fold_frozen_norms(backbone)


def in_training_only(function: Callable, otherwise: Callable) -> Callable:
    """Calls a function where gradients are wanted, and another where not."""

    # Not the attributes of the function: this one is compiled in training only.
    @wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        return (function if torch.is_grad_enabled() else otherwise)(*args, **kwargs)

    call.in_training = function
    return call


def faster_optimizer(options: dict[str, Any], speed: TrainingSpeed) -> dict[str, Any]:
    """The config of an optimiser's wrapper with what ``speed`` asks for.

    Args:
        options: A config's ``optim_wrapper``.
        speed: What to do.

    Returns:
        A copy.
    """
    options = ConfigDict(options).copy()
    device = get_device()
    if speed.fused_optimizer:
        options.optimizer = options.optimizer.copy()
        since = FUSED_OPTIMIZERS.get(device)
        fusable = since and digit_version(torch.__version__) >= since
        if fusable and options.optimizer.get('type') in WITH_FUSED:
            options.optimizer.setdefault('fused', True)
        if options.get('constructor') in (None, 'DefaultOptimWrapperConstructor'):
            options.constructor = 'GroupedOptimWrapperConstructor'
    if speed.precision == 'fp32' or options.get('type', 'OptimWrapper') != 'OptimWrapper':
        return options
    if speed.precision == 'bf16':
        options.type = 'BFloat16OptimWrapper'
        return options
    return ConfigDict(options, type='AmpOptimWrapper')
