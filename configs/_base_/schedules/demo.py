# A few minutes on two CPU cores, from random weights.
_base_ = '../fast.py'

max_epochs = 9
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        convert_to_iter_based=True,
    ),
]
# Adam changes every weight by about the learning rate, so the output of a layer changes with its
# number of inputs: 50 to 200 in the backbone, 576 in a 3x3 convolution of neck and heads, 3136 in
# the first fully connected layer. A short memory of squared gradients suits so few steps better.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=8e-3, betas=(0.9, 0.99), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'fpn_convs': dict(lr_mult=0.25),
            'head': dict(lr_mult=0.25),
            'shared_fcs': dict(lr_mult=0.05),
        }
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=4)
# The results of the demos are measured in float32.
speed = dict(precision='fp32')
