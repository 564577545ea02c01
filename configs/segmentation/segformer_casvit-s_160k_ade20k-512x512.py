_base_ = [
    '../_base_/models/segformer_casvit.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/schedule_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = _base_.casvit_sizes.s
