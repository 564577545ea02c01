"""Convolutions that do what follows them in the same pass over memory, if the CPU library can.

oneDNN applies an activation, or adds a residual, to each tile of a convolution's output while it
is in the cache. torch reaches that through the operators that its own compiler emits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.utils import digit_version
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'relu': functional.relu,
    'gelu': functional.gelu,
}
"""Activations that a convolution can apply itself; ``gelu`` is the exact (erf) form."""


def one_pass_precisions() -> tuple[torch.dtype, ...]:
    """Precisions in which oneDNN's convolutions do what follows them, on this processor."""
    if not torch.backends.mkldnn.is_available():
        return ()
    operators = torch.ops.mkldnn
    if not hasattr(operators, '_convolution_pointwise'):
        return ()
    takes = [torch.float32]
    # Some processors multiply in bfloat16 with no instructions that oneDNN's convolutions use: the
    # operator itself asks this, and raises there. What cannot be asked is not relied on.
    if getattr(operators, '_is_mkldnn_bf16_supported', bool)():
        takes.append(torch.bfloat16)
    return tuple(takes)


ONE_PASS = one_pass_precisions()
"""What :func:`one_pass_precisions` answers here, asked once."""

if digit_version(torch.__version__) >= digit_version('2.4'):
    is_compiling = torch.compiler.is_compiling
    autocasts_on_cpu: Callable[[], bool] = partial(torch.is_autocast_enabled, 'cpu')
    autocast_dtype: Callable[[], torch.dtype] = partial(torch.get_autocast_dtype, 'cpu')
else:
    is_compiling = torch._dynamo.is_compiling
    autocasts_on_cpu = torch.is_autocast_cpu_enabled
    autocast_dtype = torch.get_autocast_cpu_dtype

# The compiler of this version takes an activation's operator, not a sum's; of older ones nothing
# is known.
TRACEABLE = digit_version(torch.__version__) >= digit_version('2.13')

# A variable of the module, because the compiler can read no other kind while it traces.
_plain = False


@contextmanager
def plain_operators() -> Iterator[None]:
    """Meanwhile, fused models compute with operators that every export format has.

    This holds for all threads.
    """
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def activation_name(module: nn.Module) -> str | None:
    """The key of an activation in :data:`ACTIVATIONS`, or None if it is another one."""
    if isinstance(module, nn.ReLU):
        return 'relu'
    if isinstance(module, nn.GELU) and module.approximate == 'none':
        return 'gelu'
    return None


class FusedConv2d(nn.Conv2d):
    """A convolution for inference, and the activation or residual sum behind it.

    Args:
        convolution (nn.Conv2d): Gives the shape and the weights, which are shared.
        activation (str, optional): Key of :data:`ACTIVATIONS`. Defaults to None.

    Shape: ``(B, C_in, H, W) -> (B, C_out, H', W')``.
    """

    def __init__(self, convolution: nn.Conv2d, activation: str | None = None) -> None:
        shape: Any = convolution
        super().__init__(
            shape.in_channels,
            shape.out_channels,
            shape.kernel_size,
            shape.stride,
            shape.padding,
            shape.dilation,
            shape.groups,
            shape.bias is not None,
            shape.padding_mode,
            device='meta',
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.activation = activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """``activation(conv(x))``, or ``residual + conv(x)`` if a residual is given."""
        dtype = autocast_dtype() if autocasts_on_cpu() else x.dtype
        takes = not is_compiling() or (TRACEABLE and residual is None)
        if takes and self._in_one_pass(x, dtype):
            return self._one_pass(x.to(dtype), residual, dtype)
        x = super().forward(x)
        if residual is not None:
            return residual.to(x.dtype) + x
        return x if self.activation is None else ACTIVATIONS[self.activation](x)

    def _in_one_pass(self, x: Tensor, dtype: torch.dtype) -> bool:
        return (
            not _plain
            and dtype in ONE_PASS
            and x.device.type == 'cpu'
            # The operators know no gradient.
            and not (torch.is_grad_enabled() and x.requires_grad)
            and self.padding_mode == 'zeros'
        )

    def _one_pass(self, x: Tensor, residual: Tensor | None, dtype: torch.dtype) -> Tensor:
        weight = self.weight.to(dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        shape = self.padding, self.stride, self.dilation, self.groups
        operator = torch.ops.mkldnn._convolution_pointwise
        if residual is None:
            return operator(x, weight, bias, *shape, self.activation or 'none', [], 'none')
        return operator.binary(
            x, residual.to(dtype), weight, bias, *shape, 'add', 1.0, None, [], None
        )


def gate_products(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A gate's grouped 1x1 convolution without bias, which does little with each value it reads.

    Compiled, it is a weighted sum: that joins the loops before and behind it, where a convolution
    would be a pass over memory of its own.

    Args:
        convolution: The convolution.
        x: Shape: ``(B, C_in, H, W)``.

    Returns:
        Shape: ``(B, C_out, H, W)``.
    """
    compiles = is_compiling() and not _plain
    return weighted_sum(convolution, x) if compiles else convolution(x)


def weighted_sum(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """What a grouped 1x1 convolution without bias computes, as products and a sum over channels.

    Args:
        convolution: The convolution.
        x: Shape: ``(B, C_in, H, W)``.

    Returns:
        Shape: ``(B, C_out, H, W)``, of the type of ``x``, as under autocast.
    """
    groups = convolution.groups
    inputs = x.unflatten(1, (groups, 1, -1))
    weight = convolution.weight.to(x.dtype).unflatten(0, (groups, -1))
    return (inputs * weight).sum(3).flatten(1, 2)


def weighted_pair(q: Tensor, q_weight: Tensor, k: Tensor, k_weight: Tensor) -> Tensor:
    """``q * q_weight + k * k_weight``, with a pass over memory less where that is possible.

    Args:
        q: Shape: ``(B, C, H, W)``, as of ``k``.
        q_weight: Shape: ``(B, C, 1, 1)``, as of ``k_weight``.
    """
    if _plain:
        return q * q_weight + k * k_weight
    return torch.addcmul(q * q_weight, k, k_weight)
