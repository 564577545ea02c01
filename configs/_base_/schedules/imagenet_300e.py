max_epochs = 300
warmup_epochs = 20
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    # Starts at 0, by which mmengine's warm-up would have to divide.
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        convert_to_iter_based=True,
    ),
]
accumulation = 2
optim_wrapper = dict(
    type='OptimWrapper',
    accumulative_counts=accumulation,
    optimizer=dict(type='AdamW', lr=6e-3, weight_decay=0.05),
    # No decay of biases, scales and shifts: all parameters with one dimension.
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
# For custom_hooks: 0.9995 is kept at every optimiser step, also for norm statistics.
ema_hook = dict(type='EMAHook', momentum=5e-4, interval=accumulation, update_buffers=True)

# The learning rate is for 8 GPUs x 128 images per iteration, with two iterations per step.
auto_scale_lr = dict(enable=False, base_batch_size=1024)
