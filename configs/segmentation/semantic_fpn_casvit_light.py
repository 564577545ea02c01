_base_ = [
    '../_base_/models/semantic_fpn_casvit_light.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/segmentation_runtime.py',
]
model = _base_.casvit_sizes.xs
