# A few minutes on two CPU cores, from random weights.
_base_ = []
# Behind `_base_`: before it, mmengine would read this as its other kind of config.
import torch
from mmengine.utils import digit_version

# One pass over all weights in place of ten for each of 400; torch has it on a CPU since 2.4.
fused = True if digit_version(torch.__version__) >= digit_version('2.4') else None

max_iters = 2000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    # What tells shapes apart is found late, and at the full rate.
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=max_iters // 2,
        end=max_iters,
        T_max=max_iters // 2,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=4e-3, betas=(0.9, 0.99), weight_decay=0.05, fused=fused),
    paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=0.5), 'head': dict(lr_mult=0.5)}),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
