"""Other backbones to compare CAS-ViT with, built by timm.

Published results are copied from papers, with their source, and are never measured here.
"""

from typing import Any

from torch import nn

from casvit.tables import PEERS
from casvit_mm.models import TimmPyramid

CASVIT_BOX_AP = {'xs': 37.4, 's': 39.8, 'm': 42.3, 't': 43.5}
"""Published box AP of Mask R-CNN, 12 epochs, by size: CAS-ViT, arXiv 2408.03703."""


def published_casvit(size: str) -> dict[str, Any]:
    """Published accuracy of a CAS-ViT, in the form used for peers."""
    return {'box_ap': CASVIT_BOX_AP.get(size), 'source': 'CAS-ViT, arXiv 2408.03703'}


def build_peer(name: str) -> nn.Module:
    """Builds a peer that outputs feature maps of strides 4 to 32, as used by a detector.

    Args:
        name: A key of :data:`casvit.tables.PEERS`.

    Raises:
        MissingPackageError: timm is not installed.
    """
    return TimmPyramid(PEERS[name].timm).eval()
