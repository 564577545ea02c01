_base_ = [
    '../_base_/models/deeplabv3plus_casvit.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/schedule_80k.py',
    '../_base_/segmentation_runtime.py',
]
# The heads are mmseg's, data and schedule are those of the published Semantic FPN.
model = _base_.casvit_sizes.m
