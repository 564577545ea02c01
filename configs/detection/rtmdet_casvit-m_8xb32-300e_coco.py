_base_ = './rtmdet_casvit.py'
model = _base_.casvit_sizes.m
