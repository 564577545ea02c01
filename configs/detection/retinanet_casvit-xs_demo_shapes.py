_base_ = [
    '../_base_/models/retinanet_casvit.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.models import dense_sizes

channels = 64
out_indices = (0, 1, 2, 3)

# A small head that a few hundred images can train. The backbone starts from random weights, so its
# norm statistics are trained. The shapes are small, so features start at stride 4.
model = dict(
    backbone=dict(arch='xs', out_indices=out_indices, norm_eval=False),
    neck=dict(
        in_channels=dense_sizes(out_indices)['xs']['neck']['in_channels'],
        out_channels=channels,
        num_outs=4,
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        num_classes=len(_base_.shapes_classes),
        anchor_generator=dict(ratios=[1.0], strides=[4, 8, 16, 32]),
        # The levels share the head, but not their batch statistics.
        norm_cfg=dict(type='GN', num_groups=16),
        # The published focal loss (gamma 2, alpha 0.25) is slow to separate the classes.
        loss_cls=dict(type='SteadyFocalLoss', gamma=0.5, alpha=0.5),
        # A loss on the IoU works better in so few steps than an L1 loss on encoded boxes.
        reg_decoded_bbox=True,
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=2.0),
    ),
)
# Its steps take less time than those of Mask R-CNN, and it needs more of them.
max_epochs = 11
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs),
]
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
