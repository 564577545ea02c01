_base_ = [
    '../_base_/models/retinanet_casvit.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
channels = 64
norm_cfg = dict(type='BN')

# A small head that a few hundred pictures can train, and a backbone that starts from random weights
# and so trains the statistics of its norms.
model = dict(
    backbone=dict(arch='xs', norm_eval=False),
    neck=dict(
        in_channels=_base_.casvit_sizes.xs.neck.in_channels,
        out_channels=channels,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        num_classes=len(_base_.shapes_classes),
        anchor_generator=dict(octave_base_scale=2),
        norm_cfg=norm_cfg,
    ),
)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
custom_hooks = [*_base_.custom_hooks, dict(type='ChannelsLastHook')]
