_base_ = [
    '../_base_/models/cascade_mask_rcnn_casvit.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
model = _base_.casvit_sizes.m
