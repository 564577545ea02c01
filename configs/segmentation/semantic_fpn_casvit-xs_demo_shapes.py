_base_ = [
    '../_base_/models/semantic_fpn_casvit.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/demo_iterations.py',
    '../_base_/segmentation_runtime.py',
]
channels = 64
num_classes = len(_base_.shapes_classes)

# A small head that a few hundred pictures can train, and a backbone that starts from random weights
# and so trains the statistics of its norms.
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(arch='xs', norm_eval=False),
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
        # The background is learned at once; the classes are what takes time.
        loss_decode=dict(class_weight=[0.4] + [1.0] * (num_classes - 1)),
    ),
)
default_hooks = dict(checkpoint=dict(interval=200))
custom_hooks = [*_base_.custom_hooks, dict(type='ChannelsLastHook')]
