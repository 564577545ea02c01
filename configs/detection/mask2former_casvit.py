_base_ = [
    '../_base_/models/mask2former_casvit.py',
    '../_base_/datasets/coco_lsj_instance.py',
    '../_base_/schedules/schedule_mask2former_50e.py',
    '../_base_/default_runtime.py',
]
# Model, data and optimizer are those of mmdet's Mask2Former, whose schedule is counted in epochs.
model = _base_.casvit_sizes.m
