_base_ = './casvit_segmentor.py'
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_sizes

# The settings of each size: use `model = _base_.casvit_sizes.m`, or another size.
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
