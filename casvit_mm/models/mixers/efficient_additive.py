"""Efficient additive attention, the token mixer of SwiftFormer ("swift attention")."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from casvit_mm.models.mixers.registry import TOKEN_MIXERS


@TOKEN_MIXERS.register_module()
class EfficientAdditiveMixer(nn.Module):
    """Efficient additive attention: all positions meet in one global query.

    Queries and keys have length 1 at every position. ``alpha = q . w / sqrt(C)``, scaled to length
    1 over all positions, weights the queries to one global query g = sum of ``alpha * q``; the
    answer is ``out(mix(g * k) + q)``. There is no softmax and no value, and the cost is linear in
    H * W.

    Args:
        channels (int): Channels C of input and output.
        norm_cfg (dict, optional): Not used: this mixer has no norm inside.

    Shape: ``(B, C, H, W) -> (B, C, H, W)``.

    Complexity: ``4 C² + 7 C`` multiplications a position.

    Source: "SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision
    Applications", arXiv 2303.15446, section 3.2, with one head and alpha of length 1, as in the
    authors' models.
    """

    has_neighbourhood = False
    reads_with = 'query_key'

    def __init__(self, channels: int, norm_cfg: dict | None = None) -> None:
        super().__init__()
        self.query_key = nn.Conv2d(channels, 2 * channels, 1)
        self.weight = nn.Parameter(torch.randn(channels))
        self.mix = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes positions."""
        query, key = (normalize(each, dim=1) for each in self.query_key(x).chunk(2, 1))
        scale = query.shape[1] ** -0.5
        alpha = (query * (self.weight * scale)[:, None, None]).sum(1, keepdim=True)
        # Over both dimensions of positions at once: (B, 1, H * W).
        alpha = normalize(alpha.flatten(2), dim=2)
        # (B, C, N) times (B, N, 1)
        global_query = query.flatten(2) @ alpha.transpose(1, 2)
        return self.out(self.mix(global_query[..., None] * key) + query)
