_base_ = './deeplabv3plus_casvit.py'
model = _base_.casvit_sizes.m
