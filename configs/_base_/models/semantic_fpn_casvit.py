_base_ = './casvit_segmentor.py'
# Behind `_base_`: before it, mmengine would read this as its other kind of config.
from casvit_mm.models import dense_sizes

# What a size changes: `model = _base_.casvit_sizes.m`, or another size's name.
casvit_sizes = dense_sizes(out_indices=(0, 1, 2, 3))

model = dict(
    neck=dict(type='FPN', out_channels=256, num_outs=4),
    decode_head=dict(
        type='FPNHead',
        in_channels=[256, 256, 256, 256],
        feature_strides=[4, 8, 16, 32],
        channels=128,
    ),
)
