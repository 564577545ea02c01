_base_ = [
    '../_base_/models/mask2former_semantic_casvit.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/schedule_mask2former_160k.py',
    '../_base_/segmentation_runtime.py',
]
# Model, optimizer and schedule are those of mmseg's Mask2Former; data as of the published
# Semantic FPN, in its batches.
model = _base_.casvit_sizes.m
train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(interval=5000))
