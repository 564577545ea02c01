"""Multi-head self-attention, the token mixer of ViT."""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from casvit_mm.models.mixers.registry import TOKEN_MIXERS

HEAD_CHANNELS = 32


@TOKEN_MIXERS.register_module()
class SelfAttentionMixer(nn.Module):
    """Multi-head self-attention: each position becomes a mean of all, weighted by similarity.

    ``proj(concat over heads of softmax(q k^T / sqrt(C / heads)) v)``, with q, k and v from one
    linear layer. There is no encoding of positions: the depthwise convolutions of the block give
    the mixer features that depend on where they are.

    Its cost grows with the square of the number of positions N = H * W: twice the height and width
    are sixteen times the work. At 640 x 640 pixels the first stage has 25,600 positions, and needs
    most of the time of a whole model. Memory does not grow with the square where PyTorch computes
    the product block by block, as on CPUs and recent GPUs; exported to other runtimes, all N * N
    weights of a head are in memory at once: 2.6 GB there.

    Args:
        channels (int): Channels C of input and output.
        norm_cfg (dict, optional): Not used: this mixer has no norm inside.
        num_heads (int, optional): Number of heads, a divisor of ``channels``. By default, the
            divisor for which heads come closest to 32 channels.
        qkv_bias (bool): Whether queries, keys and values have a bias. Defaults to True.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Complexity: ``4 C² + 2 C N`` multiplications a position.

    Source: "An Image is Worth 16x16 Words", arXiv 2010.11929, appendix A.
    """

    has_neighbourhood = False
    reads_with = 'qkv'

    def __init__(
        self,
        channels: int,
        norm_cfg: dict | None = None,
        num_heads: int | None = None,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        divisors = [count for count in range(1, channels + 1) if channels % count == 0]
        if num_heads is None:
            num_heads = min(divisors, key=lambda count: abs(channels / count - HEAD_CHANNELS))
        if num_heads not in divisors:
            raise ValueError(
                f'num_heads={num_heads!r} does not divide the {channels} channels of a stage; '
                f'these do: {", ".join(map(str, divisors))}'
            )
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes positions."""
        batch, channels, height, width = x.shape
        # The channels of a head have to be neighbours in memory: PyTorch computes the product in
        # blocks then. (B, N, 3 C) -> three of (B, heads, N, C / heads)
        qkv = self.qkv(x.flatten(2).transpose(1, 2))
        heads = batch, height * width, self.num_heads, channels // self.num_heads
        q, k, v = (each.reshape(heads).transpose(1, 2) for each in qkv.chunk(3, 2))
        mixed = scaled_dot_product_attention(q, k, v)
        mixed = self.proj(mixed.transpose(1, 2).flatten(2))
        return mixed.transpose(1, 2).reshape(x.shape)
