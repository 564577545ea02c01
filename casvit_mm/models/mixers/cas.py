"""Convolutional additive self-attention, the token mixer of CAS-ViT.

Source: CAS-ViT, arXiv 2408.03703, section 3.2.
"""

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from casvit_mm.models.conv_norm import ConvNorms, norm_conv
from casvit_mm.models.mixers.registry import TOKEN_MIXERS


def depthwise(channels: int, dilation: int = 1) -> nn.Conv2d:
    """A depthwise 3x3 convolution with bias that keeps the size."""
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)


class SpatialGate(nn.Module):
    """Weights every position by one learned saliency: ``x * sigmoid(w . relu(bn(dw(x))))``.

    Args:
        channels (int): Channels C of the input.
        norm_cfg (dict): Normalisation layer.
        dilation (int): Dilation of the depthwise convolution. Defaults to 1.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Source: context mapping, spatial part, CAS-ViT, arXiv 2408.03703, section 3.2.
    """

    def __init__(self, channels: int, norm_cfg: dict, dilation: int = 1) -> None:
        super().__init__()
        self.saliency = ConvNorms(
            depthwise(channels, dilation),
            build_norm_layer(norm_cfg, channels)[1],
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.saliency(x).sigmoid()


class ChannelGate(nn.Module):
    """Weights every channel by one learned saliency of the whole map: ``x * sigmoid(W . mean(x))``.

    Args:
        channels (int): Channels C of the input.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Source: context mapping, channel part, CAS-ViT, arXiv 2408.03703, section 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.saliency = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.saliency(x).sigmoid()


@TOKEN_MIXERS.register_module()
class CASMixer(nn.Module):
    """Convolutional additive self-attention: the token mixer of CAS-ViT.

    ``proj(context(gate_q(q) + gate_k(k)) * v)``, where each gate is a :class:`SpatialGate` followed
    by a :class:`ChannelGate`. Query and key meet in a sum instead of a product of all pairs, so
    the cost is linear in H * W.

    Args:
        channels (int): Channels C of input and output.
        norm_cfg (dict): Normalisation layer of the spatial gates.
        dilation (int): Dilation of the depthwise convolutions. Defaults to 1.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Complexity: ``3 C² + 43 C`` multiplications a position, ``2 C²`` an image.

    Source: CAS-ViT, arXiv 2408.03703, section 3.2; ``context`` is the paper's linear map Gamma.
    """

    takes_norm = True

    def __init__(self, channels: int, norm_cfg: dict, dilation: int = 1) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.q_gate = nn.Sequential(
            SpatialGate(channels, norm_cfg, dilation), ChannelGate(channels)
        )
        self.k_gate = nn.Sequential(
            SpatialGate(channels, norm_cfg, dilation), ChannelGate(channels)
        )
        self.context = depthwise(channels, dilation)
        self.proj = depthwise(channels, dilation)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Mixes positions; with a frozen ``norm``, those of ``norm(x)``."""
        q, k, v = self.qkv(x).chunk(3, 1) if norm is None else norm_conv(norm, self.qkv, x, 3)
        return self.proj(self.context(self.q_gate(q) + self.k_gate(k)) * v)
