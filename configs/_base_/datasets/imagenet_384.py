_base_ = './imagenet_224.py'
img_size = 384

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleRandomResizedCrop',
        scale=img_size,
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    _base_.rand_augment,
    dict(type='PackInputs'),
]
# The whole image, without keeping its aspect ratio.
resize = dict(
    type='Resize',
    scale=(img_size, img_size),
    keep_ratio=False,
    backend='pillow',
    interpolation='bicubic',
)
test_pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    batch_sampler=dict(base_size=img_size),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

tta_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='PackInputs')],
        ],
    ),
]
