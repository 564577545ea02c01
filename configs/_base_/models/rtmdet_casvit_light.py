_base_ = './rtmdet_casvit.py'

channels = 128
conv_cfg = dict(type='SeparableConv2d')
act_cfg = dict(type='ReLU', inplace=True)

# For CPUs and phones: a pyramid from top to bottom only, separable convolutions, few candidates.
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(norm_eval=True),
    neck=dict(
        _delete_=True,
        type='FPN',
        out_channels=channels,
        num_outs=3,
        conv_cfg=conv_cfg,
        norm_cfg=_base_.norm_cfg,
    ),
    bbox_head=dict(
        in_channels=channels,
        feat_channels=channels,
        conv_cfg=conv_cfg,
        act_cfg=act_cfg,
        exp_on_reg=True,
    ),
    test_cfg=dict(nms_pre=1000, score_thr=0.05, max_per_img=100),
)
