# Without a `_base_` before it, an import makes mmengine read a pure-Python config.
_base_ = []
from casvit_mm.models import classifier_sizes, require_mmpretrain

require_mmpretrain()
# The settings of each size: use `model = _base_.casvit_sizes.m`, or another size.
casvit_sizes = classifier_sizes()

model = dict(
    type='CASViTClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='CASViT', out_indices=(3,), norm_eval=False, drop_path_rate=0.1),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='CASViTClsHead',
        num_classes=1000,
        # The published training has one head; a teacher (see CASViTClassifier) needs two.
        two_heads=False,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
