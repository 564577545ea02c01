_base_ = './semantic_fpn_casvit.py'
model = _base_.casvit_sizes.m
