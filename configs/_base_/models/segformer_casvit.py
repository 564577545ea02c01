_base_ = './casvit_segmentor.py'
# Behind `_base_`: before it, mmengine would read this as its other kind of config.
from casvit_mm.models import dense_sizes

# What a size changes: `model = _base_.casvit_sizes.m`, or another size's name.
casvit_sizes = dense_sizes(out_indices=(0, 1, 2, 3), decode_head=(0, 1, 2, 3))

model = dict(decode_head=dict(type='SegformerHead', channels=256))
