_base_ = './mask_rcnn_casvit.py'

channels = 64
conv_cfg = dict(type='SeparableConv2d')
norm_cfg = dict(type='SyncBN')

# For CPUs and phones: a narrow pyramid, separable convolutions, few proposals and small heads.
model = dict(
    neck=dict(out_channels=channels, conv_cfg=conv_cfg, norm_cfg=norm_cfg),
    rpn_head=dict(in_channels=channels, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=1), out_channels=channels),
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_convs=2,
            num_shared_fcs=1,
            in_channels=channels,
            conv_out_channels=channels,
            fc_out_channels=256,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            reg_class_agnostic=True,
        ),
        mask_roi_extractor=dict(
            roi_layer=dict(output_size=10, sampling_ratio=1), out_channels=channels
        ),
        mask_head=dict(
            type='LightMaskHead',
            num_convs=2,
            in_channels=channels,
            conv_out_channels=channels,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            class_agnostic=True,
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=128), mask_size=20),
    ),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=50), rcnn=dict(max_per_img=30)),
)
