_base_ = [
    '../_base_/models/semantic_fpn_casvit.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/demo_iterations.py',
    '../_base_/segmentation_runtime.py',
]
channels = 64
num_classes = len(_base_.shapes_classes)

# A small head that a few hundred images can train. The backbone starts from random weights, so its
# norm statistics are trained.
model = dict(
    data_preprocessor=dict(size=_base_.img_scale),
    backbone=dict(
        arch='xs',
        norm_eval=False,
        init_cfg=dict(
            type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu', bias=0.0
        ),
    ),
    neck=dict(
        in_channels=_base_.casvit_sizes.xs.neck.in_channels,
        out_channels=channels,
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        in_channels=[channels] * 4,
        channels=channels,
        num_classes=num_classes,
        dropout_ratio=0.0,
        loss_decode=dict(class_weight=_base_.shapes_class_weight),
    ),
)
default_hooks = dict(checkpoint=dict(interval=500))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ProgressiveSizeHook', scale=2 / 3, end=_base_.small_iters),
]
