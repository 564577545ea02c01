_base_ = './mask2former_casvit.py'
model = _base_.casvit_sizes.s
