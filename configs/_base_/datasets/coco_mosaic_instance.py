_base_ = './coco_mosaic.py'

# Polygons are drawn once the mosaic is cropped, in place of masks of the whole canvas.
load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
]
crop = dict(
    type='RandomCrop',
    crop_size=_base_.img_scale,
    recompute_bbox=True,
    allow_negative_crop=True,
)
vary = [crop, *_base_.vary[1:]]
mosaic, resize = _base_.train_pipeline[2:4]
mix_up = _base_.train_pipeline[-2]
# Crops may leave nothing of an object.
whole = dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1))
pack = dict(type='PackDetInputs')
train_pipeline = [*load, mosaic, resize, *vary, mix_up, whole, pack]
# The last epochs train on single images, as in testing.
last_pipeline = [*load, _base_.last_pipeline[2], crop, whole, *_base_.vary[1:], pack]
test_pipeline = [
    *_base_.test_pipeline[:3],
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    _base_.test_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
