"""Tables that commands, configs and documentation share: sizes, tasks, formats, peers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from casvit.errors import SizeError


class Architecture(NamedTuple):
    """One size of CAS-ViT.

    Attributes:
        depths: Blocks in each of the four stages.
        channels: Channels of each of the four stages.
        drop_path_rate: Drop path rate of the published detection and segmentation recipes.
        checkpoint: The published ImageNet-1k checkpoint, by its name in
            :data:`PUBLISHED_WEIGHTS`; None if the authors publish no weights.

    Source: CAS-ViT, arXiv 2408.03703, table 1 (XS to T); L occurs only in the published
    segmentation code.
    """

    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    drop_path_rate: float
    checkpoint: str | None


ARCHITECTURES: dict[str, Architecture] = {
    'xs': Architecture((2, 2, 4, 2), (48, 56, 112, 220), 0.0, 'casvit://cas-vit-xs'),
    's': Architecture((3, 3, 6, 3), (48, 64, 128, 256), 0.0, 'casvit://cas-vit-s'),
    'm': Architecture((3, 3, 6, 3), (64, 96, 192, 384), 0.1, 'casvit://cas-vit-m'),
    't': Architecture((3, 3, 6, 3), (96, 128, 256, 512), 0.1, 'casvit://cas-vit-t'),
    'l': Architecture((4, 4, 8, 4), (96, 128, 256, 512), 0.1, None),
}

PUBLISHED_SIZES = tuple(name for name, size in ARCHITECTURES.items() if size.checkpoint)
"""Sizes for which the authors publish weights."""


def channels(size: str, out_indices: Sequence[int] = (0, 1, 2, 3)) -> list[int]:
    """The channels of the features of a size: the ``in_channels`` of a neck or head behind it.

    Args:
        size: A key of :data:`ARCHITECTURES`, such as ``'s'``, or of :data:`PEERS`.
        out_indices: The stages that the backbone outputs, as in its config.

    Returns:
        An integer for each of these stages. For an image of height H and width W, the feature of
        stage i has the shape ``(B, channels, ceil(H/s), ceil(W/s))`` with s = 4, 8, 16, 32.

    Raises:
        SizeError: There is no such size, or no such stage.

    Example:
        >>> channels('s'), channels('s', out_indices=(1, 2, 3))
        ([48, 64, 128, 256], [64, 128, 256])
    """
    known: Architecture | Peer | None = ARCHITECTURES.get(size) or PEERS.get(size)
    if known is None:
        raise SizeError(
            f'CAS-ViT has no size {size!r}: the sizes are {", ".join(map(repr, ARCHITECTURES))}.'
        )
    if unknown := [stage for stage in out_indices if stage not in range(len(known.channels))]:
        name = known.name if isinstance(known, Peer) else 'CAS-ViT'
        raise SizeError(
            f'{name} has no stage {unknown[0]!r} (out_indices={out_indices!r}): its stages are '
            '0, 1, 2, 3.'
        )
    return [known.channels[stage] for stage in out_indices]


class PublishedWeights(NamedTuple):
    """A checkpoint that the authors publish.

    Attributes:
        name: Its name, as in ``casvit://NAME`` and ``casvit weights get NAME``.
        size: Size of its CAS-ViT.
        task: 'classification', 'detection', 'instance' or 'semantic'.
        dataset: What it was trained on; for ImageNet with the side of the images.
        figure: Its accuracy as the authors publish it, not measured here.
        config: The config of its model, by name.
        drive_id: Id of the file on Google Drive.

    Source: the model zoo in the authors' repository.
    """

    name: str
    size: str
    task: str
    dataset: str
    figure: str
    config: str
    drive_id: str

    @property
    def file_name(self) -> str:
        """Its file in a folder of weights."""
        return f'{self.name}.pth'

    @property
    def address(self) -> str:
        """The page from which a browser downloads it."""
        return f'https://drive.google.com/file/d/{self.drive_id}/view'


def _family(
    name: str, task: str, dataset: str, *, config: str | None = None, **sizes: tuple[str, str]
) -> list[PublishedWeights]:
    """The weights of one model in all sizes; names are patterns with a place for the size."""
    return [
        PublishedWeights(
            name.format(size), size, task, dataset, figure, (config or name).format(size), drive_id
        )
        for size, (figure, drive_id) in sizes.items()
    ]


PUBLISHED_WEIGHTS: dict[str, PublishedWeights] = {
    each.name: each
    for each in (
        *_family(
            'cas-vit-{}',
            'classification',
            'ImageNet-1k, 224 px',
            config='casvit-{}_8xb128_in1k',
            xs=('top-1 78.3', '16wKcwF6QMW5w_lyPYnDKjMNuoxQDfrLK'),
            s=('top-1 80.9', '1facFRq8s8oelYUtK1fj3fcfdoWoKDBQQ'),
            m=('top-1 82.8', '13sQpSEf0h_uuh0jRy9V0yIW6ZsbDpVGy'),
            t=('top-1 83.9', '1NqoIUPbwBC91RTjTUvubAbOfGqo1VYT0'),
        ),
        *_family(
            'cas-vit-{}-384px',
            'classification',
            'ImageNet-1k, 384 px',
            config='casvit-{}_8xb64_in1k-384px',
            xs=('top-1 78.7', '1kwRPtJ4FdmNeTm2MsiFN7N2DJpou3Pgl'),
            s=('top-1 81.1', '1UagCihMWmNCmYGC1DV5euAvA5TONI818'),
            m=('top-1 83.0', '1pTwKKRLPA7vBfk_KTgJ4J1Jq3ttkh3O2'),
            t=('top-1 84.1', '1N5Y81Vcyf2ox41TC3wlRBxgQPYaEndTW'),
        ),
        *_family(
            'retinanet_casvit-{}_fpn_1x_coco',
            'detection',
            'COCO',
            xs=('box AP 36.5', '1n3NKegRLC6wz8EgY-dKWaoPETKumfPlO'),
            s=('box AP 38.6', '18msm_na7s25aNV7AfBPpJRMGFChpnC5-'),
            m=('box AP 40.9', '1k5S6by4i6vEmr0P_w35z1ipyTFu59T7z'),
            t=('box AP 41.9', '1tp6x0pP-6zZvyPGQlvFtMBpw3WpomGac'),
        ),
        *_family(
            'mask_rcnn_casvit-{}_fpn_1x_coco',
            'instance',
            'COCO',
            xs=('box AP 37.4, mask AP 34.9', '1E8ZhO708_5J7iCmqN1Hc7HH0OAGmlMsH'),
            s=('box AP 39.8, mask AP 36.7', '1Kttud7Pqc_Tvw--F19knbfF4haJdJOG8'),
            m=('box AP 42.3, mask AP 38.9', '1zI_N7YCfpi95L6Jr0FLhVIT4u-Y2sidO'),
            t=('box AP 43.5, mask AP 39.6', '1CKGqkFC763gHEmNtXbalF0YBDN6Dhv7_'),
        ),
        *_family(
            'semantic_fpn_casvit-{}_40k_ade20k-512x512',
            'semantic',
            'ADE20K',
            xs=('mIoU 37.1', '1gCWmdNNQEa9EEwsxIuL2daIavJPcnGny'),
            s=('mIoU 41.3', '1fRY5RZXF7inaDgGKQhLKPpexz5t9p7w2'),
            m=('mIoU 43.6', '1QgBkh006WXqOrw23ehWOHPZM_V_O84c6'),
            t=('mIoU 45.0', '14tn6hctKu16GKNBeUiwuUzJml-qsxdkh'),
        ),
    )
}
"""By name. The authors publish neither sizes nor hashes of the files."""

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

SCORE_THRESHOLD = 0.3
"""Objects below this score are left out of predictions, unless another one is given."""

LAYOUTS = ('native', 'published')
"""Layouts of checkpoints: this package's, and that of the published checkpoints."""

PRECISIONS = ('fp32', 'bf16', 'fp16')
"""Precisions for the backbone, neck and dense heads of a model."""

COMPILATIONS = (False, True, 'static')
"""How a model is compiled: not at all, for images of any size, or anew for each size."""

VARIANTS = {
    'inference': ('reference', 'eager', 'fused', 'compiled', 'static'),
    'training': ('reference', 'eager', 'folded', 'compiled'),
}
"""Variants that a benchmark can measure, by mode. ``reference`` is the published forward pass;
``eager`` this package's, channels last; ``fused`` a fused model; ``folded`` a model whose frozen
norms are folded; ``compiled`` the fused or folded one with ``torch.compile``, for images of any
size; ``static`` the fused one, compiled for this size only."""

COMPARED_VARIANTS = ('eager', 'static', 'exported')
"""Variants of inference in which backbones are compared; ``exported`` is an ONNX file of the fused
model."""

COMPARED_TASKS = ('detection', 'segmentation')
"""Tasks for which backbones are trained to be compared."""

COMPARED_STEPS = {'detection': 200, 'segmentation': 700}
"""Training steps of these tasks: two to three minutes on two CPU cores with CAS-ViT XS."""

TRAINED_PEERS = ('resnet18', 'pvt_v2_b0', 'swiftformer_s')
"""Small peers that are trained to be compared: convolutions only, self-attention, and additive
attention."""


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet's images, for red, green and blue from 0 to 255."""


class PublishedAccuracy(NamedTuple):
    """The accuracy of a backbone as others publish it, not measured here.

    Attributes:
        box_ap: Box AP on COCO of Mask R-CNN with FPN, 12 epochs; None if there is no such figure.
        source: Where the box AP is published.
        miou: mIoU on ADE20K of Semantic FPN, images of 512x512; None if there is no such figure.
        miou_source: Where the mIoU is published.
    """

    box_ap: float | None = None
    source: str = ''
    miou: float | None = None
    miou_source: str = ''


UNPUBLISHED = PublishedAccuracy()


@dataclass(frozen=True)
class Peer:
    """Another backbone to compare with.

    Attributes:
        name: Its name in the publication.
        key: Its name in configs and commands: that in timm, if timm builds it.
        channels: Channels of its features of strides 4, 8, 16 and 32.
        published: Its published accuracy.
        backbone: The class that builds it, by its registered name.
        mean, std: With which its weights want images normalised: red, green, blue from 0 to 255.
    """

    name: str
    key: str
    channels: tuple[int, int, int, int]
    published: PublishedAccuracy = UNPUBLISHED
    backbone: str = 'TimmPyramid'
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


PVT = 'PVTv2, arXiv 2106.13797, and its repository'
PVT_SEGMENTATION = 'PVTv2, arXiv 2106.13797, table 5'
SWIFTFORMER = 'SwiftFormer, arXiv 2303.15446, table 3'
IFORMER = 'table 5 of iFormer (ICLR 2025)'
MMDET = 'model zoo of mmdet'
POOLFORMER = 'PoolFormer, its repository'
REPVIT = 'RepViT, its repository'

PEERS: dict[str, Peer] = {
    peer.key: peer
    for peer in (
        Peer(
            'ResNet-18',
            'resnet18',
            (64, 128, 256, 512),
            PublishedAccuracy(34.0, SWIFTFORMER, 32.9, PVT_SEGMENTATION),
        ),
        Peer(
            'ResNet-50',
            'resnet50',
            (256, 512, 1024, 2048),
            PublishedAccuracy(38.0, f'{MMDET}, caffe style', 36.7, PVT_SEGMENTATION),
        ),
        Peer(
            'PVTv2-B0',
            'pvt_v2_b0',
            (32, 64, 160, 256),
            PublishedAccuracy(38.2, PVT, 37.2, PVT_SEGMENTATION),
        ),
        Peer(
            'PVTv2-B1',
            'pvt_v2_b1',
            (64, 128, 320, 512),
            PublishedAccuracy(41.8, PVT, 42.5, PVT_SEGMENTATION),
        ),
        Peer(
            'PVTv2-B2',
            'pvt_v2_b2',
            (64, 128, 320, 512),
            PublishedAccuracy(45.3, PVT, 45.2, PVT_SEGMENTATION),
        ),
        Peer(
            'Swin-T',
            'swin_tiny_patch4_window7_224',
            (96, 192, 384, 768),
            PublishedAccuracy(42.7, MMDET, 41.5, IFORMER),
        ),
        Peer(
            'ConvNeXt-T',
            'convnext_tiny',
            (96, 192, 384, 768),
            PublishedAccuracy(44.2, 'InternImage, arXiv 2211.05778', 41.4, IFORMER),
        ),
        Peer(
            'PoolFormer-S12',
            'poolformer_s12',
            (64, 128, 320, 512),
            PublishedAccuracy(37.3, POOLFORMER, 37.2, POOLFORMER),
        ),
        Peer('HorNet-T', 'hornet_tiny', (64, 128, 256, 512), backbone='HorNetPyramid'),
        Peer('SwiftFormer-S', 'swiftformer_s', (48, 64, 168, 224)),
        Peer(
            'SwiftFormer-L1',
            'swiftformer_l1',
            (48, 96, 192, 384),
            PublishedAccuracy(41.2, SWIFTFORMER, 41.4, SWIFTFORMER),
        ),
        Peer(
            'SwiftFormer-L3',
            'swiftformer_l3',
            (64, 128, 320, 512),
            PublishedAccuracy(42.7, SWIFTFORMER, 43.9, SWIFTFORMER),
        ),
        Peer(
            'RepViT-M1.1',
            'repvit_m1_1',
            (64, 128, 256, 512),
            PublishedAccuracy(39.8, REPVIT, 40.6, REPVIT),
        ),
        Peer(
            'RepViT-M1.5',
            'repvit_m1_5',
            (64, 128, 256, 512),
            PublishedAccuracy(41.6, REPVIT, 43.6, REPVIT),
        ),
        Peer(
            'FastViT-SA12',
            'fastvit_sa12',
            (64, 128, 256, 512),
            PublishedAccuracy(38.9, IFORMER, 38.0, IFORMER),
        ),
        Peer(
            'FastViT-SA24',
            'fastvit_sa24',
            (64, 128, 256, 512),
            PublishedAccuracy(42.0, IFORMER, 41.0, IFORMER),
        ),
        Peer('MobileNetV4-Conv-M', 'mobilenetv4_conv_medium', (48, 80, 160, 960)),
        Peer('EdgeNeXt-S', 'edgenext_small', (48, 96, 160, 304)),
        Peer('EfficientViT-B1 (MIT)', 'efficientvit_b1', (32, 64, 128, 256)),
        Peer('StarNet-S4', 'starnet_s4', (32, 64, 128, 256)),
        Peer('TinyViT-5M', 'tiny_vit_5m_224', (64, 128, 160, 320)),
        Peer('TinyViT-21M', 'tiny_vit_21m_224', (96, 192, 384, 576)),
    )
}
"""By their names in configs and commands. EfficientFormer, and EfficientFormerV2 in timm, take
images of one size only and so cannot be backbones of detectors."""
