_base_ = [
    '../_base_/models/rtmdet_casvit_light.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
# The backbone starts from random weights, so its norm statistics are trained.
model = dict(
    backbone=dict(arch='xs', norm_eval=False),
    neck=dict(in_channels=_base_.casvit_sizes.xs.neck.in_channels),
    bbox_head=dict(num_classes=len(_base_.shapes_classes)),
)
# Its assigner takes the centre of an object from the box, or from masks of another type.
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='LoadAnnotations', with_bbox=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# As many steps as the demo of RetinaNet.
max_epochs = 11
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs),
]
# Separable convolutions have as few inputs as those of the backbone.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'fpn_convs': dict(lr_mult=1.0), 'head': dict(lr_mult=1.0)})
)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
