_base_ = [
    '../_base_/models/mask_rcnn_casvit.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
num_classes = len(_base_.shapes_classes)
neck_channels = 64

# Small heads, and a backbone that starts from random weights and so trains its norm statistics.
model = dict(
    backbone=dict(arch='xs', norm_eval=False),
    neck=dict(in_channels=_base_.casvit_sizes.xs.neck.in_channels, out_channels=neck_channels),
    rpn_head=dict(
        in_channels=neck_channels,
        feat_channels=neck_channels,
        anchor_generator=dict(scales=[4]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=neck_channels),
        bbox_head=dict(in_channels=neck_channels, fc_out_channels=256, num_classes=num_classes),
        mask_roi_extractor=dict(out_channels=neck_channels),
        mask_head=dict(
            num_convs=2,
            in_channels=neck_channels,
            conv_out_channels=64,
            num_classes=num_classes,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)),
)
default_hooks = dict(logger=dict(interval=10))
