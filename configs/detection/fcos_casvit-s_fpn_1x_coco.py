_base_ = './fcos_casvit.py'
model = _base_.casvit_sizes.s
