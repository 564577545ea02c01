_base_ = './retinanet_casvit.py'

channels = 64
levels = 5
conv_cfg = dict(type='SeparableConv2d')
norm_cfg = dict(type='SyncBN')

# For CPUs and phones: a narrow pyramid, separable convolutions that the levels share, and a third
# of the anchors.
model = dict(
    neck=dict(out_channels=channels, conv_cfg=conv_cfg, norm_cfg=norm_cfg),
    bbox_head=dict(
        # The levels share the convolutions, but not their batch statistics.
        type='RetinaSepBNHead',
        num_ins=levels,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        conv_cfg=conv_cfg,
        norm_cfg=norm_cfg,
        anchor_generator=dict(scales_per_octave=1),
    ),
    test_cfg=dict(nms_pre=200),
)
