"""Other backbones to compare CAS-ViT with, and what is published of CAS-ViT itself."""

import re
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from casvit.tables import PEERS, PUBLISHED_WEIGHTS, PublishedAccuracy

SOURCE = 'CAS-ViT, arXiv 2408.03703'


def published_casvit(size: str) -> PublishedAccuracy:
    """The published accuracy of a CAS-ViT.

    Args:
        size: A key of :data:`casvit.tables.ARCHITECTURES`.
    """
    box_ap = _figure(f'mask_rcnn_casvit-{size}_fpn_1x_coco', 'box AP')
    miou = _figure(f'semantic_fpn_casvit-{size}_40k_ade20k-512x512', 'mIoU')
    return PublishedAccuracy(box_ap, SOURCE if box_ap else '', miou, SOURCE if miou else '')


def peer_backbone(name: str) -> dict[str, Any]:
    """The config of a peer that outputs feature maps of strides 4 to 32, without weights.

    Args:
        name: A key of :data:`casvit.tables.PEERS`.
    """
    return dict(type=PEERS[name].backbone, name=name)


def build_peer(name: str) -> nn.Module:
    """Builds a peer that outputs feature maps of strides 4 to 32, as used by a detector.

    Args:
        name: A key of :data:`casvit.tables.PEERS`.

    Raises:
        MissingPackageError: The package that builds it is not installed.
    """
    backbone: nn.Module = MODELS.build(peer_backbone(name))
    return backbone.eval()


def _figure(weights: str, metric: str) -> float | None:
    known = PUBLISHED_WEIGHTS.get(weights)
    found = known and re.search(rf'{metric} ([\d.]+)', known.figure)
    return float(found[1]) if found else None
