_base_ = [
    '../_base_/models/mask_rcnn_casvit.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
# The size of the backbone: xs, s, m or t. It sets everything that depends on it, as `--size` does.
model = _base_.casvit_sizes.m
