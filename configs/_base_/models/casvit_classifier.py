# An import is read as mmengine's other kind of config, unless a `_base_` stands before it.
_base_ = []
from casvit_mm.models import classifier_sizes, require_mmpretrain

require_mmpretrain()
# What a size changes: `model = _base_.casvit_sizes.m`, or another size's name.
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
        # The published training has one head; a teacher (see CASViTClassifier) wants two.
        two_heads=False,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
