"""Makes training faster without changing its results: the ``speed`` of a config."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, ParamSpec, TypeVar

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
from casvit_mm.speed.memory_format import overrun, to_channels_last

# Measured to be faster in this version; versions between 2.1 and this one were not measured.
FAST_CHANNELS_LAST = digit_version('2.13')
# The first versions of torch with fused optimisers on each device.
FUSED_OPTIMIZERS = {'cuda': digit_version('2.1'), 'cpu': digit_version('2.4')}
WITH_FUSED = ('Adam', 'AdamW', 'SGD')

P = ParamSpec('P')
Result = TypeVar('Result')


class SpeedError(UserError, ValueError):
    """A config's ``speed`` has an invalid option; the message says which."""


@dataclass(frozen=True)
class TrainingSpeed:
    """Options that make a training run faster, set as keys of ``speed`` in a config.

    Attributes:
        channels_last: Train the backbone in NHWC memory order, in which its convolutions are
            faster. Ignored if torch is slower in that order: before 2.13 on a CPU, where the
            gradient of a depthwise convolution takes about thirty times as long in torch 2.1.
        fold_norms: Fold frozen norms into the adjacent convolutions; see
            :func:`casvit_mm.speed.folded_norms.fold_frozen_norms`. No effect if the norms are
            trained (``norm_eval=False``).
        fused_optimizer: Update all weights in one pass if torch supports it (Adam, AdamW, SGD),
            with one parameter group per set of options. A run must be resumed with the value that
            it was started with.
        compile: Compile the backbone, forward and backward, with ``torch.compile``. The first
            step takes minutes on a CPU. Validation is not compiled.
        precision: Precision of the dense parts: a key of
            :data:`casvit_mm.speed.dense_parts.PRECISIONS`. In a config also ``'auto'``: bf16 if the
            device is faster in it, see :func:`casvit_mm.speed.matrix_products.gains_from`, else
            fp32. fp16 needs a GPU. If the config has an ``optim_wrapper`` other than OptimWrapper,
            the precision of that wrapper is used.
        keep_memory: Keep freed memory for the next step; see
            :func:`casvit_mm.speed.freed_memory.keep_freed_memory`. No effect on a GPU.

    Raises:
        SpeedError: The precision is unknown.
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
        """Reads the ``speed`` of a config for this machine.

        Args:
            options: The attributes; the precision may be ``'auto'``.

        Raises:
            SpeedError: A key or value is unknown, or fp16 is requested and there is no GPU.
        """
        known = [field.name for field in fields(cls)]
        unknown = [key for key in options if key not in known]
        if unknown:
            raise SpeedError(
                f'speed has unknown keys: {", ".join(unknown)}; known: {", ".join(known)}.'
            )
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
    """Prepares a model for faster training, in place; parameters, buffers and their names stay.

    May be called again, as when a runner trains twice: nothing is done twice.

    Args:
        model: A model with a ``backbone``, with its weights loaded, on the training device.
        speed: The options. Those of the optimiser and the precision are applied by the optimiser
            wrapper, see :func:`faster_optimizer`.
        tell: Called with a sentence about anything that is not possible or takes long.
    """
    tell = tell or (lambda sentence: None)
    if speed.keep_memory and not keep_freed_memory():
        tell('speed.keep_memory: only supported by the C library of Linux (glibc).')
    device = next(model.parameters()).device.type
    if speed.channels_last and not lay_out(model, speed, device):
        tell(f'speed.channels_last: ignored, as {_against_channels_last(model, device)}.')
    if speed.fold_norms:
        _fold(model, tell)
    if speed.compile:
        _compile(model, tell)


def lay_out(model: nn.Module, speed: TrainingSpeed, device: str) -> bool:
    """Gives the backbone of a model the memory order that it is trained in, in place.

    Args:
        model: A model with a ``backbone``.
        speed: The options.
        device: The type of the device that it will be trained on.

    Returns:
        Whether that is the order of ``channels_last``.
    """
    if not speed.channels_last or _against_channels_last(model, device):
        return False
    to_channels_last(model)
    return True


def _against_channels_last(model: nn.Module, device: str) -> str:
    """Why a model is not trained in channels last on a device; '' if it is."""
    if device != 'cpu':
        return ''
    if digit_version(torch.__version__) < FAST_CHANNELS_LAST:
        return f'torch {torch.__version__} is faster in the ordinary layout'
    if name := overrun(model.get_submodule('backbone')):
        return (
            f'oneDNN writes past its memory there: backbone.{name} is a 1x1 convolution with a '
            'stride and few channels'
        )
    return ''


def compiler_options(model: nn.Module) -> dict[str, Any]:
    """Options for ``torch.compile`` to compile a training step on the model's device.

    Args:
        model: The model, on the device that it is trained on.

    Returns:
        Keyword arguments of ``torch.compile``.
    """
    if next(model.parameters()).device.type != 'cpu':
        return {}
    if overrun(model):
        return {'options': {'layout_optimization': False}}
    if digit_version(torch.__version__) < FAST_CHANNELS_LAST:
        return {}
    # The compiler chooses NHWC for graphs with convolutions. A backward graph has only their
    # gradients: by default, the input of each depthwise one is copied into an order between NHWC
    # and NCHW, and copied back by the gradient's operator.
    return {'options': {'force_layout_optimization': True}}


def _fold(model: nn.Module, tell: Callable[[str], None]) -> None:
    backbone = model.backbone
    if not isinstance(backbone, CASViT) or not is_frozen_in(backbone):
        tell('speed.fold_norms: nothing to fold, as the norms of the backbone are trained.')
        return
    fold_frozen_norms(backbone)


def _compile(model: nn.Module, tell: Callable[[str], None]) -> None:
    backbone = model.get_submodule('backbone')
    if hasattr(backbone.forward, 'in_training'):
        return
    backbone.forward = in_training_only(
        compiled(backbone.forward, **compiler_options(model)), backbone.forward
    )
    tell('The backbone is compiled: the first steps take minutes.')


def in_training_only(
    function: Callable[P, Result], otherwise: Callable[P, Result]
) -> Callable[P, Result]:
    """Wraps two functions: one to call if gradients are enabled, another if not."""

    # Without the attributes of the function: this one is compiled in training only.
    @wraps(function, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        return (function if torch.is_grad_enabled() else otherwise)(*args, **kwargs)

    call.in_training = function  # type: ignore[attr-defined]
    return call


def faster_optimizer(options: dict[str, Any], speed: TrainingSpeed) -> ConfigDict:
    """Applies the ``speed`` options to the config of an optimiser wrapper.

    Args:
        options: The ``optim_wrapper`` of a config.
        speed: The options.

    Returns:
        A changed copy.
    """
    faster = ConfigDict(options).copy()
    device = get_device()
    if speed.fused_optimizer:
        faster.optimizer = faster.optimizer.copy()
        since = FUSED_OPTIMIZERS.get(device)
        fusable = since and digit_version(torch.__version__) >= since
        if fusable and faster.optimizer.get('type') in WITH_FUSED:
            faster.optimizer.setdefault('fused', True)
        if faster.get('constructor') in (None, 'DefaultOptimWrapperConstructor'):
            faster.constructor = 'GroupedOptimWrapperConstructor'
    if speed.precision == 'fp32' or faster.get('type', 'OptimWrapper') != 'OptimWrapper':
        return faster
    if speed.precision == 'bf16':
        faster.type = 'BFloat16OptimWrapper'
        return faster
    return ConfigDict(faster, type='AmpOptimWrapper')
