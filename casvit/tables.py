"""Tables that commands, configs and documentation share: sizes, tasks, formats, peers."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """One size of CAS-ViT.

    Attributes:
        depths: Blocks in each of the four stages.
        channels: Channels of each of the four stages.
        drop_path_rate: Drop path rate of the published detection and segmentation recipes.
        checkpoint: The published ImageNet-1k checkpoint, relative to the working directory of a
            run; None if the authors publish no weights.

    Source: CAS-ViT, arXiv 2408.03703, table 1 (XS to T); L occurs only in the published
    segmentation code.
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

PUBLISHED_SIZES = tuple(name for name, size in ARCHITECTURES.items() if size.checkpoint)
"""Sizes for which the authors publish weights."""

OBJECT_TASKS = ('detection', 'instance')
TASKS = (*OBJECT_TASKS, 'semantic')
"""Tasks that models are fine-tuned for: object detection, instance segmentation, semantic
segmentation."""

CHECKED_TASKS = (*TASKS, 'classification')
"""Tasks of datasets that can be checked."""

SPLITS = ('train', 'val', 'test')
"""Splits of a dataset, by the names that configs have for them."""

FORMATS = ('coco', 'voc', 'yolo', 'labelme', 'masks')
"""Dataset formats, by the name that --format takes."""

IGNORE_INDEX = 255
"""Ignore index of semantic masks, unless another is given."""

LAYOUTS = ('native', 'published')
"""Layouts of checkpoints: this package's, and that of the published checkpoints."""

PRECISIONS = ('fp32', 'bf16', 'fp16')
"""Precisions for the backbone, neck and dense heads of a model."""

VARIANTS = {
    'inference': ('reference', 'eager', 'fused', 'compiled'),
    'training': ('reference', 'eager', 'folded', 'compiled'),
}
"""Variants that a benchmark can measure, by mode. ``reference`` is the published forward pass;
``eager`` this package's, channels last; ``fused`` a fused model; ``folded`` a model whose frozen
norms are folded; ``compiled`` the fused or folded one with ``torch.compile``."""


@dataclass(frozen=True)
class Peer:
    """Another backbone to compare with, built by timm.

    Attributes:
        name: Its name in the publication.
        timm: Its name in timm.
        box_ap: Published box AP on COCO of Mask R-CNN with FPN, 12 epochs; None if there is no
            such figure.
        source: Where the figure is published.
        options: Options with which timm builds it for images of any size.
    """

    name: str
    timm: str
    box_ap: float | None
    source: str
    options: tuple[tuple[str, Any], ...] = ()


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
"""By name in timm. EfficientFormer, and timm's EfficientFormerV2, take images of one size only and
so cannot be backbones of detectors."""
