_base_ = './cascade_mask_rcnn_casvit.py'
model = _base_.casvit_sizes.s
