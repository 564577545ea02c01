_base_ = './mask_rcnn_casvit.py'

single = _base_.model.roi_head.bbox_head
assign, sample = _base_.model.train_cfg.rcnn.assigner, _base_.model.train_cfg.rcnn.sampler
# Every stage classifies and refines the boxes of the previous one, with a stricter IoU.
stages = [
    (0.5, [0.1, 0.1, 0.2, 0.2]),
    (0.6, [0.05, 0.05, 0.1, 0.1]),
    (0.7, [0.033, 0.033, 0.067, 0.067]),
]

model = dict(
    type='CascadeRCNN',
    rpn_head=dict(
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)
    ),
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(
                single,
                reg_class_agnostic=True,
                bbox_coder=dict(single.bbox_coder, target_stds=stds),
                loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
            )
            for _, stds in stages
        ],
    ),
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=2000),
        rcnn=[
            dict(
                assigner=dict(
                    assign,
                    pos_iou_thr=overlap,
                    neg_iou_thr=overlap,
                    min_pos_iou=overlap,
                    match_low_quality=False,
                ),
                sampler=sample,
                mask_size=28,
                pos_weight=-1,
                debug=False,
            )
            for overlap, _ in stages
        ],
    ),
)
