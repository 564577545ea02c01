_base_ = './retinanet_casvit.py'
model = _base_.casvit_sizes.t
