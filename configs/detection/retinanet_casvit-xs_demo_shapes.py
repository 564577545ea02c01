_base_ = [
    '../_base_/models/retinanet_casvit.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
neck_channels = 64

# A small head, and a backbone that starts from random weights and so trains its norm statistics.
model = dict(
    backbone=dict(arch='xs', norm_eval=False),
    neck=dict(in_channels=_base_.casvit_sizes.xs.neck.in_channels, out_channels=neck_channels),
    bbox_head=dict(
        in_channels=neck_channels,
        feat_channels=neck_channels,
        stacked_convs=2,
        num_classes=len(_base_.shapes_classes),
        anchor_generator=dict(octave_base_scale=2),
    ),
)
default_hooks = dict(logger=dict(interval=10))
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
