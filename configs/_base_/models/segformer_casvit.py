_base_ = './casvit_segmentor.py'
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_sizes

# The settings of each size: use `model = _base_.casvit_sizes.m`, or another size.
casvit_sizes = dense_sizes(out_indices=(0, 1, 2, 3), decode_head=(0, 1, 2, 3))

model = dict(decode_head=dict(type='SegformerHead', channels=256))
