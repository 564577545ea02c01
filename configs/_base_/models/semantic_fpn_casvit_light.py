_base_ = './semantic_fpn_casvit.py'

channels = 64
conv_cfg = dict(type='SeparableConv2d')

# For CPUs and phones: a narrow pyramid and head of separable convolutions.
model = dict(
    type='LightEncoderDecoder',
    neck=dict(out_channels=channels, conv_cfg=conv_cfg, norm_cfg=_base_.norm_cfg),
    decode_head=dict(in_channels=[channels] * 4, channels=channels, conv_cfg=conv_cfg),
)
