"""The dense parts of a model, and what makes any of them faster: compilation, lower precision.

Dense parts map tensors to tensors: backbone, neck, the convolutions of heads. What stands between
and behind them (proposals, RoIAlign, non-maximum suppression, losses) is left alone, in float32:
mmcv's operators know no bfloat16, and losses need the digits.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from typing import Any

import torch
from mmengine.utils import digit_version
from torch import Tensor, nn
from torch._inductor import config as inductor_config

from casvit import tables

try:
    from torch.fx.experimental import _config as shape_config
except ImportError:
    # Before torch 2.3: a square first image costs one more compilation.
    shape_config = None

PRECISIONS = dict(
    zip(tables.PRECISIONS, (torch.float32, torch.bfloat16, torch.float16), strict=True)
)
"""Precisions of the dense parts, by name."""

# Generated C++ calls the kernels one after the other, instead of generated Python: with constant
# weights measured to be faster, and compiled in a quarter of a minute more. With gradients it takes
# many minutes to compile for next to nothing. Of older versions nothing is known.
CALLS_IN_CPP = digit_version(torch.__version__) >= digit_version('2.13')

PER_IMAGE = ('backbone', 'neck', 'rpn_head', 'bbox_head', 'decode_head')
PER_REGION = ('roi_head.bbox_head', 'roi_head.mask_head')


def per_image(model: nn.Module) -> list[nn.Module]:
    """The dense parts that a batch of images passes through once.

    Args:
        model: A detector, segmentor or classifier.
    """
    return _found(model, PER_IMAGE)


def dense_parts(model: nn.Module) -> list[nn.Module]:
    """All dense parts: those of :func:`per_image`, and those that regions pass through.

    Args:
        model: A detector, segmentor or classifier.
    """
    return _found(model, (*PER_IMAGE, *PER_REGION))


def _found(model: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    found: list[nn.Module] = []
    for name in names:
        owner, _, last = name.rpartition('.')
        part = getattr(getattr(model, owner, None) if owner else model, last, None)
        if isinstance(part, nn.ModuleList):
            found += part
        elif isinstance(part, nn.Module):
            found.append(part)
    return found


def compiled(
    function: Callable, *, dynamic: bool = True, constant_weights: bool = False, **options: Any
) -> Callable:
    """``torch.compile``, by default for inputs of any height and width.

    Height and width stay two numbers also where the first image is square: one compilation
    serves all sizes of photographs, and one more those batches that have another number of
    images than one. Below some 320 pixels a side torch takes other kernels for the deeper
    stages, and compiles anew for them, a few times in all.

    Args:
        function: What to compile.
        dynamic: Whether for inputs of any size.
        constant_weights: Take the weights as they are at the first call, for as long as the
            process lives: they are converted and laid out once, as kernels want them. Without
            effect while gradients are wanted.
        **options: For ``torch.compile``, such as its ``backend``.
    """
    inner = torch.compile(function, dynamic=dynamic, **options)

    # Not the attributes of the function: a wrapper around this one is not the compiled one.
    @wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            if shape_config:
                stack.enter_context(shape_config.patch(use_duck_shape=False))
            if constant_weights:
                # In the options of torch.compile it would come too late for what traces.
                on_cpu = next(tensors(args)).device.type == 'cpu'
                in_cpp = on_cpu and CALLS_IN_CPP and not torch.is_grad_enabled()
                stack.enter_context(inductor_config.patch(freezing=True, cpp_wrapper=in_cpp))
            return inner(*args, **kwargs)

    call.compiles = function
    return call


def at_precision(function: Callable, dtype: torch.dtype) -> Callable:
    """Runs a function by autocast; the tensors that it returns are float32 again."""

    @wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(next(tensors(args)).device.type, dtype):
            return as_float32(function(*args, **kwargs))

    call.lowers = function
    return call


def is_compiled(function: Callable) -> bool:
    """Whether a forward pass is compiled, at whatever precision."""
    return hasattr(in_full_precision(function), 'compiles')


def in_full_precision(function: Callable) -> Callable:
    """What :func:`at_precision` was given to make a function; any other function is itself."""
    while hasattr(function, 'lowers'):
        function = function.lowers
    return function


def as_written(function: Callable) -> Callable:
    """A forward pass as it was before it was compiled and its precision lowered."""
    while inner := getattr(function, 'lowers', None) or getattr(function, 'compiles', None):
        function = inner
    return function


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
