# Without a `_base_` before it, an import makes mmengine read a pure-Python config.
_base_ = ['./mask2former_head.py']
from casvit_mm.models import dense_sizes

# The settings of each size: use `model = _base_.casvit_sizes.m`, or another size.
casvit_sizes = dense_sizes(out_indices=(0, 1, 2, 3), panoptic_head=(0, 1, 2, 3))
num_classes = 80

# mmdet's Mask2Former for instance segmentation.
model = dict(
    type='Mask2Former',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
    ),
    backbone=dict(type='CASViT', out_indices=(0, 1, 2, 3), norm_eval=True),
    panoptic_head=dict(
        _base_.mask2former_head,
        num_things_classes=num_classes,
        num_stuff_classes=0,
        loss_cls=dict(_base_.mask2former_loss_cls, class_weight=[1.0] * num_classes + [0.1]),
    ),
    panoptic_fusion_head=dict(
        type='MaskFormerFusionHead',
        num_things_classes=num_classes,
        num_stuff_classes=0,
        loss_panoptic=None,
    ),
    train_cfg=_base_.mask2former_train_cfg,
    test_cfg=dict(
        panoptic_on=False,
        semantic_on=False,
        instance_on=True,
        max_per_image=100,
        iou_thr=0.8,
        filter_low_score=True,
    ),
)
