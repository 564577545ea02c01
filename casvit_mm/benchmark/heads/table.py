"""The configs that mmdet and mmseg ship: one for each folder, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ALL = (0, 1, 2, 3)
UPPER = (1, 2, 3)


@dataclass(frozen=True)
class Head:
    """A shipped config whose backbone is replaced.

    Attributes:
        config: Toolbox, folder and name: ``'mmdet/fcos/fcos_r50-caffe_fpn_gn-head_1x_coco'``.
        stages: Stages that the CAS-ViT outputs; None for those of the config's own backbone.
        reads: Keys of the config that take channels of the backbone and are not known to the check
            of channels, with their stages: a list for several, an integer for one.
        sets: Other values that have to change, by their keys.
        mask_stride: Stride of the semantic masks that a detector is trained with.
    """

    config: str
    stages: tuple[int, ...] | None = None
    reads: Mapping[str, tuple[int, ...] | int] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    mask_stride: int = 1

    @property
    def toolbox(self) -> str:
        """Name of its toolbox."""
        return self.config.partition('/')[0]

    @property
    def folder(self) -> str:
        """Its toolbox and folder."""
        return self.config.rpartition('/')[0]

    @property
    def file(self) -> str:
        """Its file in the folder of the toolbox's configs."""
        return f'{self.config.partition("/")[2]}.py'


HEADS: tuple[Head, ...] = (
    Head('mmdet/atss/atss_r50_fpn_1x_coco'),
    Head('mmdet/autoassign/autoassign_r50-caffe_fpn_1x_coco'),
    Head('mmdet/boxinst/boxinst_r50_fpn_ms-90k_coco'),
    Head('mmdet/cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco'),
    Head('mmdet/centernet/centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco'),
    Head('mmdet/condinst/condinst_r50_fpn_ms-poly-90k_coco_instance'),
    Head('mmdet/conditional_detr/conditional-detr_r50_8xb2-50e_coco'),
    Head('mmdet/crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman'),
    Head('mmdet/dab_detr/dab-detr_r50_8xb2-50e_coco'),
    Head('mmdet/ddod/ddod_r50_fpn_1x_coco'),
    Head('mmdet/ddq/ddq-detr-4scale_r50_8xb2-12e_coco'),
    Head('mmdet/deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco'),
    Head('mmdet/detr/detr_r50_8xb2-150e_coco'),
    Head('mmdet/dino/dino-4scale_r50_8xb2-12e_coco'),
    Head('mmdet/double_heads/dh-faster-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/dyhead/atss_r50_fpn_dyhead_1x_coco'),
    Head('mmdet/dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/faster_rcnn/faster-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/fcos/fcos_r50-caffe_fpn_gn-head_1x_coco'),
    Head('mmdet/foveabox/fovea_r50_fpn_4xb4-1x_coco'),
    Head('mmdet/fpg/retinanet_r50_fpg-chn128_crop640_50e_coco'),
    Head('mmdet/free_anchor/freeanchor_r50_fpn_1x_coco'),
    Head('mmdet/fsaf/fsaf_r50_fpn_1x_coco'),
    Head('mmdet/gfl/gfl_r50_fpn_1x_coco'),
    Head('mmdet/ghm/retinanet_r50_fpn_ghm-1x_coco'),
    Head('mmdet/grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco'),
    Head('mmdet/groie/mask-rcnn_r50_fpn_groie_1x_coco'),
    Head('mmdet/hrnet/faster-rcnn_hrnetv2p-w18-1x_coco', ALL),
    Head('mmdet/htc/htc_r50_fpn_1x_coco', mask_stride=8),
    Head('mmdet/libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/mask2former/mask2former_r50_8xb2-lsj-50e_coco'),
    Head('mmdet/mask_rcnn/mask-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/maskformer/maskformer_r50_ms-16xb1-75e_coco'),
    Head('mmdet/ms_rcnn/ms-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco'),
    Head('mmdet/nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco'),
    Head('mmdet/paa/paa_r50_fpn_1x_coco'),
    Head('mmdet/pafpn/faster-rcnn_r50_pafpn_1x_coco'),
    Head('mmdet/panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco'),
    Head('mmdet/pisa/faster-rcnn_r50_fpn_pisa_1x_coco'),
    Head('mmdet/point_rend/point-rend_r50-caffe_fpn_ms-1x_coco'),
    Head(
        'mmdet/queryinst/queryinst_r50_fpn_1x_coco',
        # With random weights, boxes lie outside the image, where mmdet cannot paste their masks.
        sets={'model.roi_head.bbox_head.5.bbox_coder.clip_border': True},
    ),
    Head('mmdet/reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco'),
    Head('mmdet/retinanet/retinanet_r50_fpn_1x_coco'),
    Head('mmdet/rpn/rpn_r50_fpn_1x_coco'),
    Head('mmdet/rtmdet/rtmdet-ins_tiny_8xb32-300e_coco', UPPER),
    Head('mmdet/sabl/sabl-faster-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/scnet/scnet_r50_fpn_1x_coco', mask_stride=8),
    Head('mmdet/seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1'),
    Head('mmdet/solo/solo_r50_fpn_1x_coco'),
    Head('mmdet/solov2/solov2_r50_fpn_1x_coco'),
    Head('mmdet/sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco'),
    Head('mmdet/tood/tood_r50_fpn_1x_coco'),
    Head('mmdet/vfnet/vfnet_r50_fpn_1x_coco'),
    Head('mmdet/yolact/yolact_r50_1xb8-55e_coco'),
    Head(
        'mmdet/yolo/yolov3_d53_8xb8-320-273e_coco',
        UPPER,
        # From the last level to the first.
        reads={'model.neck.in_channels': (3, 2, 1)},
    ),
    Head('mmdet/yolof/yolof_r50-c5_8xb8-1x_coco'),
    Head('mmdet/yolox/yolox_s_8xb8-300e_coco', UPPER),
    Head('mmseg/ann/ann_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/apcnet/apcnet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/ccnet/ccnet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/danet/danet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/deeplabv3/deeplabv3_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/dmnet/dmnet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/dnlnet/dnl_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024'),
    Head('mmseg/encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head(
        'mmseg/fastfcn/fastfcn_r50-d32_jpu_aspp_4xb4-80k_ade20k-512x512',
        reads={'model.neck.in_channels': UPPER, 'model.auxiliary_head.in_channels': 2},
    ),
    Head('mmseg/fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/gcnet/gcnet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/hrnet/fcn_hr18_4xb4-80k_ade20k-512x512', ALL),
    Head('mmseg/isanet/isanet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512'),
    Head('mmseg/mask2former/mask2former_r50_8xb2-160k_ade20k-512x512'),
    Head('mmseg/maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512'),
    Head(
        'mmseg/mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024',
        (0, 1, 3),
        # Its pooling is made for features of stride 8.
        sets={'model.backbone.strides': (1, 2, 1, 1), 'model.backbone.dilations': (1, 1, 2, 4)},
    ),
    Head('mmseg/nonlocal_net/nonlocal_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024'),
    Head('mmseg/point_rend/pointrend_r50_4xb4-160k_ade20k-512x512'),
    Head('mmseg/psanet/psanet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512'),
    Head('mmseg/segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512'),
    Head('mmseg/segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512', (3,)),
    Head('mmseg/segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512', ALL),
    Head('mmseg/sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512'),
    Head('mmseg/setr/setr_vit-l_naive_8xb2-160k_ade20k-512x512', ALL),
    Head('mmseg/upernet/upernet_r50_4xb4-160k_ade20k-512x512'),
)

REASONS: dict[str, str] = {
    'recipe': 'The model is in the table of another folder; data, schedule, augmentation, norms '
    'or pretrained weights differ.',
    'backbone': 'The folder is about a backbone; its necks and heads are in the table of other '
    'folders.',
    'bound': 'The neck or head takes what only its own backbone outputs.',
    'network': 'The whole network is the design, so there is no backbone to replace.',
    'video': 'The model works on videos: tracking, or re-identification of tracked objects.',
    'text': 'The model reads text with a language model, or starts from a generative one.',
    'teacher': 'A second detector teaches the model while it trains, so there are two backbones.',
    'gpu': 'An operator of it (CARAFE, masked convolution) exists for GPUs only; not tried.',
    'proposals': 'It takes proposals from a file; its head is that of Faster R-CNN.',
    'lanes': 'It detects lanes, and is not in the documentation of mmdet.',
}
"""Why a folder has no config in :data:`HEADS`, by name."""

EXCLUDED: dict[str, str] = {
    folder: reason
    for reason, folders in {
        'recipe': (
            'mmdet/albu_example mmdet/cityscapes mmdet/common mmdet/deepfashion mmdet/dsdl '
            'mmdet/gn mmdet/gn+ws mmdet/instaboost mmdet/legacy_1.x mmdet/lvis mmdet/misc '
            'mmdet/objects365 mmdet/openimages mmdet/pascal_voc mmdet/resnet_strikes_back '
            'mmdet/scratch mmdet/selfsup_pretrain mmdet/simple_copy_paste mmdet/strong_baselines '
            'mmdet/v3det mmdet/wider_face mmseg/dsdl'
        ),
        'backbone': (
            'mmdet/convnext mmdet/dcn mmdet/dcnv2 mmdet/efficientnet mmdet/empirical_attention '
            'mmdet/gcnet mmdet/pvt mmdet/regnet mmdet/res2net mmdet/resnest mmdet/swin '
            'mmdet/timm_example mmseg/beit mmseg/convnext mmseg/mae mmseg/mobilenet_v2 '
            'mmseg/poolformer mmseg/resnest mmseg/swin mmseg/twins mmseg/vit'
        ),
        'bound': (
            'mmdet/centripetalnet mmdet/cornernet mmdet/detectors mmdet/ssd mmdet/tridentnet '
            'mmseg/dpt'
        ),
        'network': (
            'mmseg/bisenetv1 mmseg/bisenetv2 mmseg/cgnet mmseg/ddrnet mmseg/erfnet mmseg/fastscnn '
            'mmseg/icnet mmseg/pidnet mmseg/stdc mmseg/unet'
        ),
        'video': (
            'mmdet/bytetrack mmdet/deepsort mmdet/mask2former_vis mmdet/masktrack_rcnn '
            'mmdet/ocsort mmdet/qdtrack mmdet/reid mmdet/sort mmdet/strongsort'
        ),
        'text': 'mmdet/glip mmdet/grounding_dino mmdet/mm_grounding_dino mmseg/san mmseg/vpd',
        'teacher': 'mmdet/lad mmdet/ld mmdet/soft_teacher',
        'gpu': 'mmdet/carafe mmdet/guided_anchoring',
        'proposals': 'mmdet/fast_rcnn',
        'lanes': 'mmdet/clrnet',
    }.items()
    for folder in folders.split()
}
"""The folders without a config in :data:`HEADS`, with the name of the reason."""
