# A few minutes on two CPU cores, from random weights.
_base_ = '../fast.py'

# At first, small images are about as useful as larger ones, and a step takes a third less time.
small_iters = 1050
max_iters = 1550
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Shapes are told apart late in training, and at the full learning rate.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.01,
        by_epoch=False,
        begin=small_iters,
        end=max_iters,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4.5e-3, betas=(0.9, 0.99), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=0.5), 'head': dict(lr_mult=0.5)}),
)
auto_scale_lr = dict(enable=False, base_batch_size=10)
# The results of the demos are measured in float32.
speed = dict(precision='fp32')
