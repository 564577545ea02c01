"""What makes the forward pass of a trained model faster: fusion, compilation, lower precision.

Compilation and lower precision take hold of the dense parts: those that map feature maps to
feature maps. What follows them (proposals, RoIAlign, non-maximum suppression) stays as it is, in
float32.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from casvit_mm.deploy.fusion import fuse, is_fused, unwrap
from casvit_mm.models.memory_format import to_channels_last

try:
    from torch.fx.experimental import _config as shape_config
except ImportError:
    # Before torch 2.3: a square first picture costs one more compilation.
    shape_config = None

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
"""Precisions of the dense parts, by name."""

DENSE_PARTS = ('backbone', 'neck', 'rpn_head', 'bbox_head', 'decode_head')


@dataclass(frozen=True)
class Acceleration:
    """What is done to a model to make it faster; each on its own keeps what it computes.

    Attributes:
        fuse: Fold batch norms and more, exactly; see :func:`casvit_mm.deploy.fuse`.
        compile: Compile the dense parts for pictures of any size with ``torch.compile``: the
            first picture takes a minute or more, all others less than before.
        precision: A key of :data:`PRECISIONS`: what the dense parts compute in. bf16 and fp16 are
            fast on GPUs, and on CPUs with instructions for them.

    Raises:
        ValueError: The precision is not known.
    """

    fuse: bool = False
    compile: bool = False
    precision: str = 'fp32'

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f'precision={self.precision!r} is unknown; known: {", ".join(PRECISIONS)}'
            )


def accelerate(model: nn.Module, acceleration: Acceleration) -> nn.Module:
    """Makes the forward pass of a trained model faster, in place.

    Args:
        model: A detector, segmentor or classifier with a CAS-ViT; wrappers for distributed runs or
            test-time augmentation are looked into.
        acceleration: What to do.

    Returns:
        The model.

    Raises:
        ValueError: The model is to be fused and has no CAS-ViT.
    """
    inner = unwrap(model)
    if acceleration.fuse and not is_fused(inner):
        fuse(inner)
    if acceleration.fuse or acceleration.compile:
        to_channels_last(inner)
    for name in DENSE_PARTS:
        part = getattr(inner, name, None)
        if isinstance(part, nn.Module):
            if acceleration.compile:
                part.forward = compiled(part.forward)
            if acceleration.precision != 'fp32':
                part.forward = at_precision(part.forward, PRECISIONS[acceleration.precision])
    return model


def compiled(function: Callable, **options: Any) -> Callable:
    """``torch.compile`` for inputs of any height and width.

    Height and width stay two numbers also where the first picture is square: one compilation
    serves all sizes of photographs, and one more those batches that have another number of
    pictures than one. Below some 320 pixels a side torch takes other kernels for the deeper
    stages, and compiles anew for them, a few times in all.

    Args:
        function: What to compile.
        **options: For ``torch.compile``, such as its ``backend``.
    """
    inner = torch.compile(function, dynamic=True, **options)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with shape_config.patch(use_duck_shape=False) if shape_config else nullcontext():
            return inner(*args, **kwargs)

    return call


def at_precision(function: Callable, dtype: torch.dtype) -> Callable:
    """Runs a function by autocast; the tensors that it returns are float32 again."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(next(tensors(args)).device.type, dtype):
            return as_float32(function(*args, **kwargs))

    return call


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors(each)


def as_float32(value: Any) -> Any:
    """Floating-point tensors as float32, alone or in tuples and lists."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_float32, value))
    return value


@HOOKS.register_module()
class AccelerationHook(Hook):
    """Makes the model of a test run faster; its weights have been loaded then.

    Args:
        fuse (bool): See :class:`Acceleration`, like the others. Defaults to False.
        compile (bool): Defaults to False.
        precision (str): Defaults to 'fp32'.
    """

    def __init__(self, fuse: bool = False, compile: bool = False, precision: str = 'fp32') -> None:
        self.acceleration = Acceleration(fuse, compile, precision)

    def before_test(self, runner: Runner) -> None:
        """Changes the model in place.

        Raises:
            ValueError: The model is to be fused, and an EMAHook would swap its weights.
        """
        if self.acceleration.fuse and any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                'EMAHook swaps the weights of a model that is being tested, and a fused model has '
                'others: leave EMAHook out of custom_hooks here. A checkpoint of a run with it '
                'holds the average anyway.'
            )
        accelerate(runner.model, self.acceleration)
