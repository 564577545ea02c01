_base_ = './casvit_segmentor.py'
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_sizes

# The settings of each size: use `model = _base_.casvit_sizes.m`, or another size.
casvit_sizes = dense_sizes(
    out_indices=(0, 2, 3),
    decode_head=dict(in_channels=3, c1_in_channels=0),
    auxiliary_head=2,
)

# mmseg's DeepLabV3+ at output stride 16: the last stage keeps the resolution of the one before.
model = dict(
    backbone=dict(out_indices=(0, 2, 3), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_index=2,
        channels=512,
        # Of the paper for this stride; those for stride 8 are twice as large.
        dilations=(1, 6, 12, 18),
        c1_channels=48,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_index=1,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
