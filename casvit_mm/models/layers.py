"""The layers of a CAS-ViT in the order of the data, for learning rates that fall by layer."""

import re
from collections.abc import Sequence

_PATCH_EMBEDDING = re.compile(r'patch_embeds\.(\d+)\.')
_BLOCK = re.compile(r'stages\.(\d+)\.(\d+)\.')
_NORM = re.compile(r'out_norms\.(\d+)\.')


def layer_of(name: str, depths: Sequence[int]) -> int:
    """The layer that a parameter of the backbone belongs to.

    Args:
        name: Name of the parameter in the backbone.
        depths: Blocks of each stage.

    Returns:
        0 for the stem, 1 to ``sum(depths)`` for the blocks. A patch embedding is in the layer of
        the first block behind it, an output norm in that of the block before it.
    """
    if found := _BLOCK.match(name):
        return sum(depths[: int(found[1])]) + int(found[2]) + 1
    if found := _PATCH_EMBEDDING.match(name):
        return sum(depths[: int(found[1]) + 1]) + 1
    if found := _NORM.match(name):
        return sum(depths[: int(found[1]) + 1])
    return 0
