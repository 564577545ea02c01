"""The table of CAS-ViT sizes, and what a dense-prediction config derives from a row of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """One size of CAS-ViT.

    Attributes:
        depths: Blocks in each of the four stages.
        channels: Channels of each of the four stages.
        drop_path_rate: Drop path rate of the published detection and segmentation recipes.
        checkpoint: The published ImageNet-1k file, relative to the folder a run is started in;
            None where the authors publish no weights.

    Source: CAS-ViT, arXiv 2408.03703, table 1 (XS to T); L occurs in the published segmentation
    code only.
    """

    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    drop_path_rate: float
    checkpoint: str | None


ARCHITECTURES: dict[str, Architecture] = {
    'xs': Architecture((2, 2, 4, 2), (48, 56, 112, 220), 0.0, 'checkpoints/cas-vit-xs.pth'),
    's': Architecture((3, 3, 6, 3), (48, 64, 128, 256), 0.0, 'checkpoints/cas-vit-s.pth'),
    'm': Architecture((3, 3, 6, 3), (64, 96, 192, 384), 0.1, 'checkpoints/cas-vit-m.pth'),
    't': Architecture((3, 3, 6, 3), (96, 128, 256, 512), 0.1, 'checkpoints/cas-vit-t.pth'),
    'l': Architecture((4, 4, 8, 4), (96, 128, 256, 512), 0.1, None),
}


def dense_sizes(out_indices: Sequence[int]) -> dict[str, dict[str, Any]]:
    """What a detector or segmentor with a neck changes from one size to the next.

    Args:
        out_indices: Stages (0 to 3) that the neck receives.

    Returns:
        For every size of :data:`ARCHITECTURES` a fragment to merge into ``model``: the backbone's
        ``arch``, ``drop_path_rate`` and ``init_cfg``, and the neck's ``in_channels``.
    """
    return {
        name: dict(
            backbone=dict(
                arch=name,
                drop_path_rate=size.drop_path_rate,
                init_cfg=size.checkpoint and dict(type='Pretrained', checkpoint=size.checkpoint),
            ),
            neck=dict(in_channels=[size.channels[index] for index in out_indices]),
        )
        for name, size in ARCHITECTURES.items()
    }
