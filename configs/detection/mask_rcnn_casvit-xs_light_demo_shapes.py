_base_ = [
    '../_base_/models/mask_rcnn_casvit_light.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
num_classes = len(_base_.shapes_classes)

# The backbone starts from random weights, so its norm statistics are trained.
model = dict(
    backbone=dict(arch='xs', norm_eval=False),
    neck=dict(in_channels=_base_.casvit_sizes.xs.neck.in_channels, num_outs=4),
    rpn_head=dict(anchor_generator=dict(scales=[4], ratios=[1.0], strides=[4, 8, 16, 32])),
    roi_head=dict(
        bbox_head=dict(
            num_classes=num_classes,
            # A loss on the IoU works better in so few steps than an L1 loss on encoded boxes.
            reg_decoded_bbox=True,
            loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=2.0),
        ),
        mask_head=dict(num_classes=num_classes),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=60),
        rcnn=dict(sampler=dict(num=24, pos_fraction=0.5)),
    ),
)
# Separable convolutions have as few inputs as those of the backbone.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'fpn_convs': dict(lr_mult=1.0), 'roi_head': dict(lr_mult=1.0)})
)
