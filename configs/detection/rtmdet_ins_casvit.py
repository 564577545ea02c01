_base_ = [
    '../_base_/models/rtmdet_ins_casvit.py',
    '../_base_/datasets/coco_mosaic_instance.py',
    '../_base_/schedules/schedule_300e.py',
    '../_base_/default_runtime.py',
]
# The recipe of mmdet's RTMDet-Ins, as of rtmdet_casvit.
model = _base_.casvit_sizes.m
default_hooks = dict(checkpoint=dict(interval=_base_.interval))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49,
    ),
    dict(
        type='PipelineSwitchHook',
        switch_epoch=_base_.max_epochs - _base_.last_epochs,
        switch_pipeline=_base_.last_pipeline,
    ),
]
