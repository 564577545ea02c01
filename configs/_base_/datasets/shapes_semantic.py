_base_ = './ade20k_512x512.py'
# After `_base_`: before it, mmengine would take this for its pure-Python kind of config.
from casvit_mm.datasets.shapes import objects as shapes

shapes_classes = ('background', *shapes.CLASSES)
# The background is learned quickly, and shapes with few pixels are learned last.
shapes_class_weight = [0.6, 0.9, 0.85, 1.35, 1.4, 0.95, 1.0]
data_root = f'{shapes.default_root()}/'
# Smaller than the images: shapes stay recognisable, and each step covers more of them.
img_scale = (96, 96)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='RandomFlip', prob=[0.33, 0.33], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    # Loading an image takes a millisecond: worker processes would only take cores from training.
    batch_size=10,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='SemanticShapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='train', seg_map_path='labels/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='SemanticShapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='val', seg_map_path='labels/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=img_scale, keep_ratio=True),
                dict(type='Resize', scale=(128, 128), keep_ratio=True),
            ],
            [dict(type='ResizeToMultiple', size_divisor=32)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
