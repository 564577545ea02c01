_base_ = './dino_casvit.py'
model = _base_.casvit_sizes.m
