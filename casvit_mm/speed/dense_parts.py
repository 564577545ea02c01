"""The dense parts of a model, and ways to make them faster: compilation, lower precision.

Dense parts map tensors to tensors: backbone, neck, the convolutions of heads. Everything between
and after them (proposals, RoIAlign, non-maximum suppression, losses) stays in float32: mmcv's
operators do not support bfloat16, and losses need the precision.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from mmengine.utils import digit_version
from torch import Tensor, nn
from torch._inductor import config as inductor_config

from casvit import tables

# Any, because torch adds `patch` to the module when it is imported.
shape_config: Any
try:
    from torch.fx.experimental import _config as shape_config
except ImportError:
    # Before torch 2.3, where a square first image costs one more compilation.
    shape_config = None

P = ParamSpec('P')
Result = TypeVar('Result')

PRECISIONS = dict(
    zip(tables.PRECISIONS, (torch.float32, torch.bfloat16, torch.float16), strict=True)
)
"""Precisions of the dense parts, by name."""

# Generated C++ instead of generated Python calls the kernels: measured to be faster with constant
# weights, for 15 more seconds of compilation. With gradients it takes many minutes to compile and
# gains next to nothing. Older versions were not measured.
CALLS_IN_CPP = digit_version(torch.__version__) >= digit_version('2.13')

PER_IMAGE = ('backbone', 'neck', 'rpn_head', 'bbox_head', 'decode_head')
PER_REGION = ('roi_head.bbox_head', 'roi_head.mask_head')


def per_image(model: nn.Module) -> list[nn.Module]:
    """Finds the dense parts that a batch of images passes through once.

    Args:
        model: A detector, segmentor or classifier.
    """
    return _found(model, PER_IMAGE)


def dense_parts(model: nn.Module) -> list[nn.Module]:
    """Finds all dense parts: those of :func:`per_image`, and those that regions pass through.

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
    function: Callable[P, Result],
    *,
    dynamic: bool = True,
    constant_weights: bool = False,
    **options: Any,
) -> Callable[P, Result]:
    """Wraps ``torch.compile``, by default for inputs of any height and width.

    Height and width stay independent even if the first image is square: one compilation covers all
    image sizes, and one more covers batches of several images. Below about 320 pixels a side,
    torch uses other kernels for the deeper stages and recompiles a few times.

    Args:
        function: The function to compile.
        dynamic: Whether to compile for inputs of any size.
        constant_weights: Treat the weights as constants from the first call on, until the process
            ends: they are converted to the layout that the kernels need only once. No effect while
            gradients are computed.
        **options: For ``torch.compile``, such as its ``backend``.
    """
    inner = torch.compile(function, dynamic=dynamic, **options)

    # Without the attributes of the function: a wrapper around this one is not the compiled one.
    @wraps(function, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        with ExitStack() as stack:
            if shape_config:
                stack.enter_context(shape_config.patch(use_duck_shape=False))
            if constant_weights:
                # As options of torch.compile these would be set too late for tracing.
                on_cpu = next(tensors(args)).device.type == 'cpu'
                in_cpp = on_cpu and CALLS_IN_CPP and not torch.is_grad_enabled()
                stack.enter_context(inductor_config.patch(freezing=True, cpp_wrapper=in_cpp))
            return inner(*args, **kwargs)

    call.compiles = function  # type: ignore[attr-defined]
    return call


def at_precision(function: Callable[P, Result], dtype: torch.dtype) -> Callable[P, Result]:
    """Runs a function under autocast; the tensors that it returns are float32 again."""

    @wraps(function, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        with torch.autocast(next(tensors(args)).device.type, dtype):
            return as_float32(function(*args, **kwargs))

    call.lowers = function  # type: ignore[attr-defined]
    return call


def is_compiled(function: Callable) -> bool:
    """Whether a forward pass is compiled, at any precision."""
    return hasattr(in_full_precision(function), 'compiles')


def in_full_precision(function: Callable) -> Callable:
    """The function that :func:`at_precision` wraps; any other function is returned as it is."""
    while hasattr(function, 'lowers'):
        function = function.lowers
    return function


def as_written(function: Callable) -> Callable:
    """The original forward pass, before it was compiled or its precision lowered."""
    while inner := getattr(function, 'lowers', None) or getattr(function, 'compiles', None):
        function = inner
    return function


def tensors(value: Any) -> Iterator[Tensor]:
    """Yields the tensors in nested tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors(each)


def as_float32(value: Any) -> Any:
    """Converts floating-point tensors to float32, alone or in nested tuples and lists."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_float32, value))
    return value
