_base_ = [
    '../_base_/models/semantic_fpn_casvit_light.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/demo_iterations.py',
    '../_base_/segmentation_runtime.py',
]

# The backbone starts from random weights, so its norm statistics are trained.
model = dict(
    data_preprocessor=dict(size=_base_.img_scale),
    backbone=dict(
        arch='xs',
        norm_eval=False,
        init_cfg=dict(
            type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu', bias=0.0
        ),
    ),
    neck=dict(in_channels=_base_.casvit_sizes.xs.neck.in_channels),
    decode_head=dict(
        num_classes=len(_base_.shapes_classes),
        dropout_ratio=0.0,
        loss_decode=dict(class_weight=_base_.shapes_class_weight),
    ),
)
# Separable convolutions have as few inputs as those of the backbone.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=1.0), 'head': dict(lr_mult=1.0)})
)
default_hooks = dict(checkpoint=dict(interval=500))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ProgressiveSizeHook', scale=2 / 3, end=_base_.small_iters),
]
