"""Separable self-attention, the token mixer of MobileViTv2."""

from torch import Tensor, nn
from torch.nn.functional import relu

from casvit_mm.models.mixers.registry import TOKEN_MIXERS


@TOKEN_MIXERS.register_module()
class SeparableMixer(nn.Module):
    """Separable self-attention: all positions meet in one context vector.

    ``proj(relu(value) * sum over positions of softmax(score) * key)``: the scores are one number a
    position, and the softmax is over all of them. So the cost is linear in H * W. MobileViTv2
    applies it to patches of its feature map; here it sees the whole map, as in the paper's formula.

    Args:
        channels (int): Channels C of input and output.
        norm_cfg (dict, optional): Not used: this mixer has no norm inside.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Complexity: ``3 C² + 3 C`` multiplications a position.

    Source: "Separable Self-attention for Mobile Vision Transformers", arXiv 2206.02680, section 3.
    """

    has_neighbourhood = False
    reads_with = 'score_key_value'

    def __init__(self, channels: int, norm_cfg: dict | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.score_key_value = nn.Conv2d(channels, 1 + 2 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes positions."""
        sizes = [1, self.channels, self.channels]
        score, key, value = self.score_key_value(x).split(sizes, 1)
        weights = score.flatten(2).softmax(2)
        # (B, C, N) times (B, N, 1)
        context = key.flatten(2) @ weights.transpose(1, 2)
        return self.proj(relu(value) * context[..., None])
