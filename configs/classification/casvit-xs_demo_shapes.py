_base_ = [
    '../_base_/models/casvit_classifier.py',
    '../_base_/datasets/single_shapes.py',
    '../_base_/schedules/demo_classification.py',
    '../_base_/classification_runtime.py',
]
# In so few steps, drop path and label smoothing would only slow training down.
model = dict(
    backbone=dict(arch='xs', drop_path_rate=0.0),
    head=dict(
        in_channels=_base_.casvit_sizes.xs.head.in_channels,
        num_classes=len(_base_.shapes_classes),
        loss=dict(_delete_=True, type='CrossEntropyLoss'),
    ),
)
