"""Backbones of others, to be measured beside CAS-ViT: one table, built by timm.

Published results are copied from papers, with their source, and never measured here.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from casvit_mm.models import MissingPackageError

FIRST_STRIDE = 4


@dataclass(frozen=True)
class Peer:
    """A backbone of others.

    Attributes:
        name: What its authors call it.
        timm: Name in timm.
        box_ap: Published box AP on COCO of Mask R-CNN with FPN, 12 epochs; None where its
            authors publish none of that kind.
        source: Where that is published.
        options: What timm needs to build it for pictures of any size.
    """

    name: str
    timm: str
    box_ap: float | None
    source: str
    options: tuple[tuple[str, Any], ...] = ()


CASVIT_BOX_AP = {'xs': 37.4, 's': 39.8, 'm': 42.3, 't': 43.5}
"""Published box AP of Mask R-CNN, 12 epochs, by size: CAS-ViT, arXiv 2408.03703."""

PVT = 'PVTv2, arXiv 2106.13797, and its repository'
SWIFTFORMER = 'SwiftFormer, arXiv 2303.15446, table 3'
IFORMER = 'table 5 of iFormer (ICLR 2025)'
MMDET = 'model zoo of mmdet'

PEERS: dict[str, Peer] = {
    peer.timm: peer
    for peer in (
        Peer('ResNet-18', 'resnet18', 34.0, SWIFTFORMER),
        Peer('ResNet-50', 'resnet50', 38.0, f'{MMDET}, caffe style'),
        Peer('PVTv2-B0', 'pvt_v2_b0', 38.2, PVT),
        Peer('PVTv2-B1', 'pvt_v2_b1', 41.8, PVT),
        Peer('Swin-T', 'swin_tiny_patch4_window7_224', 42.7, MMDET, (('strict_img_size', False),)),
        Peer('ConvNeXt-T', 'convnext_tiny', 44.2, 'InternImage, arXiv 2211.05778'),
        Peer('PoolFormer-S12', 'poolformer_s12', 37.3, 'PoolFormer, its repository'),
        Peer('SwiftFormer-S', 'swiftformer_s', None, ''),
        Peer('SwiftFormer-L1', 'swiftformer_l1', 41.2, SWIFTFORMER),
        Peer('SwiftFormer-L3', 'swiftformer_l3', 42.7, SWIFTFORMER),
        Peer('RepViT-M1.1', 'repvit_m1_1', 39.8, 'RepViT, its repository'),
        Peer('RepViT-M1.5', 'repvit_m1_5', 41.6, 'RepViT, its repository'),
        Peer('FastViT-SA12', 'fastvit_sa12', 38.9, IFORMER),
        Peer('FastViT-SA24', 'fastvit_sa24', 42.0, IFORMER),
        Peer('MobileNetV4-Conv-M', 'mobilenetv4_conv_medium', None, ''),
        Peer('EdgeNeXt-S', 'edgenext_small', None, ''),
        Peer('EfficientViT-B1 (MIT)', 'efficientvit_b1', None, ''),
        Peer('StarNet-S4', 'starnet_s4', None, ''),
    )
}
"""By name in timm. EfficientFormer, and EfficientFormerV2 as timm has it, take pictures of one size
only, and so are no backbones of detectors."""


def published_casvit(size: str) -> dict[str, Any]:
    """Published accuracy of a CAS-ViT, as of a peer."""
    return {'box_ap': CASVIT_BOX_AP.get(size), 'source': 'CAS-ViT, arXiv 2408.03703'}


def build_peer(name: str) -> nn.Module:
    """Builds a peer that gives its maps of strides 4 to 32, as a detector takes them.

    Args:
        name: A key of :data:`PEERS`.

    Raises:
        MissingPackageError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError(
            'Peer backbones are built by timm, which is not installed: '
            "pip install 'casvit-mm[bench]'."
        ) from error
    peer = PEERS[name]
    options = dict(features_only=True, pretrained=False, **dict(peer.options))
    strides = timm.create_model(peer.timm, **options).feature_info.reduction()
    wanted = [index for index, stride in enumerate(strides) if stride >= FIRST_STRIDE]
    return timm.create_model(peer.timm, out_indices=wanted, **options).eval()
