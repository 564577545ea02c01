_base_ = [
    '../_base_/models/dino_casvit.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/schedule_dino_12e.py',
    '../_base_/default_runtime.py',
]
# Model, data and schedule are those of mmdet's DINO with four levels and 12 epochs.
model = _base_.casvit_sizes.m
