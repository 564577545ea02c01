_base_ = [
    '../_base_/models/casvit_classifier_pretrained.py',
    '../_base_/datasets/imagenet_384.py',
    '../_base_/schedules/imagenet_384_30e.py',
    '../_base_/classification_runtime.py',
]
model = _base_.casvit_sizes.m
custom_hooks = [*_base_.custom_hooks, _base_.ema_hook]
