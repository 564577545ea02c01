_base_ = [
    '../_base_/models/retinanet_casvit_light.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
model = _base_.casvit_sizes.xs
