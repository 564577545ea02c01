_base_ = './rtmdet_casvit.py'

head = _base_.model.bbox_head
# The head of mmdet's RTMDet-Ins: that of RTMDet, with a kernel of a small mask network per object.
model = dict(
    data_preprocessor=dict(pad_mask=True),
    bbox_head=dict(
        _delete_=True,
        type='RTMDetInsSepBNHead',
        num_classes=80,
        in_channels=head.in_channels,
        feat_channels=head.feat_channels,
        stacked_convs=2,
        share_conv=True,
        pred_kernel_size=1,
        anchor_generator=head.anchor_generator,
        bbox_coder=head.bbox_coder,
        loss_cls=head.loss_cls,
        loss_bbox=head.loss_bbox,
        loss_mask=dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean'),
        norm_cfg=head.norm_cfg,
        act_cfg=head.act_cfg,
    ),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
        mask_thr_binary=0.5,
    ),
)
