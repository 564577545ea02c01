"""A convolution in two cheaper ones, for necks and heads that run on CPUs and phones."""

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from casvit_mm.registration import registered_in


@registered_in(MODELS)
class SeparableConv2d(nn.Conv2d):
    """A depthwise convolution, then a pointwise one.

    ::

        x ── depthwise KxK, one filter per channel ── pointwise 1x1 ── y

    It takes the place of a dense convolution in any neck or head with a ``conv_cfg``, for about an
    eighth of the operations of a 3x3 convolution with 64 channels. With a kernel of 1x1, it is an
    ordinary convolution.

    The module itself is the pointwise convolution, so that norms behind it are folded, and its
    weights initialised, as those of any convolution.

    Args:
        in_channels (int): Channels C of the input.
        out_channels (int): Channels O of the output.
        kernel_size (int): Size of the depthwise kernel.
        bias (bool): Whether the output has a bias. Defaults to True.
        **kwargs: ``stride``, ``padding``, ``dilation`` and ``padding_mode`` of the depthwise
            convolution, as in ``nn.Conv2d``.

    Shape: as of an ``nn.Conv2d`` with the same arguments, ``(B, C, H, W) -> (B, O, H', W')``.

    Raises:
        ValueError: ``groups`` is not 1.

    Example:
        >>> neck = dict(type='FPN', conv_cfg=dict(type='SeparableConv2d'))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        bias: bool = True,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        if groups != 1:
            raise ValueError(f'groups={groups}: a separable convolution has no groups of its own')
        if kernel_size in (1, (1, 1)):
            super().__init__(in_channels, out_channels, 1, bias=bias, **kwargs)
            self.depthwise: nn.Module = nn.Identity()
        else:
            super().__init__(in_channels, out_channels, 1, bias=bias)
            self.depthwise = nn.Conv2d(
                in_channels, in_channels, kernel_size, bias=False, groups=in_channels, **kwargs
            )

    def forward(self, x: Tensor) -> Tensor:
        """Applies both convolutions. Shape: ``(B, C, H, W) -> (B, O, H', W')``."""
        return super().forward(self.depthwise(x))
