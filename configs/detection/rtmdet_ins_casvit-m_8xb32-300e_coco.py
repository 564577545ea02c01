_base_ = './rtmdet_ins_casvit.py'
model = _base_.casvit_sizes.m
