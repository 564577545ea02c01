_base_ = [
    '../_base_/models/fcos_casvit.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
# The head is mmdet's, data and schedule are those of the published RetinaNet.
model = _base_.casvit_sizes.m
