"""Token mixers without weights, those of MetaFormer's baselines."""

from torch import Tensor, nn

from casvit_mm.models.mixers.registry import TOKEN_MIXERS


@TOKEN_MIXERS.register_module()
class PoolingMixer(nn.Module):
    """The mean of the neighbourhood of each position, less the position itself.

    The mean leaves out what lies beyond the edge. The block adds its input, so that the mean
    itself is what comes out.

    Args:
        channels (int): Channels C of input and output.
        norm_cfg (dict, optional): Not used: this mixer has no norm inside.
        pool_size (int): Height and width of the neighbourhood, odd. Defaults to 3.

    Raises:
        ValueError: ``pool_size`` is even or negative.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Complexity: ``pool_size² C`` additions a position.

    Source: "MetaFormer Is Actually What You Need for Vision", arXiv 2111.11418, section 3.2.
    """

    def __init__(self, channels: int, norm_cfg: dict | None = None, pool_size: int = 3) -> None:
        super().__init__()
        if pool_size < 1 or pool_size % 2 == 0:
            raise ValueError(f'pool_size={pool_size!r}: expected an odd number, 1 or more')
        self.pool = nn.AvgPool2d(
            pool_size, stride=1, padding=pool_size // 2, count_include_pad=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mixes positions."""
        return self.pool(x) - x


@TOKEN_MIXERS.register_module()
class IdentityMixer(nn.Module):
    """No mixing: positions meet only in the convolutions of the rest of the block.

    Args:
        channels (int): Channels C of input and output.
        norm_cfg (dict, optional): Not used: this mixer has no norm inside.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Complexity: none.

    Source: "MetaFormer Baselines for Vision", arXiv 2210.13452, section 3.1.
    """

    has_neighbourhood = False

    def __init__(self, channels: int, norm_cfg: dict | None = None) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Gives ``x`` as it is."""
        return x
