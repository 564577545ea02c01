# A few minutes on two CPU cores, from random weights.
_base_ = '../fast.py'

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
    optimizer=dict(type='AdamW', lr=4e-3, betas=(0.9, 0.99), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=0.5), 'head': dict(lr_mult=0.5)}),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
# The figures of the demos are those of float32.
speed = dict(precision='fp32')
