_base_ = [
    '../_base_/models/casvit_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]
model = _base_.casvit_sizes.m
custom_hooks = [*_base_.custom_hooks, _base_.ema_hook]
