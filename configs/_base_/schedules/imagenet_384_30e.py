max_epochs = 30
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Starts at 0, by which mmengine's warm-up would have to divide; constant after the warm-up.
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    )
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=0.05),
    # No decay of biases, scales and shifts: all parameters with one dimension.
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
# For custom_hooks: 0.9995 is kept at every optimiser step, also for norm statistics.
ema_hook = dict(type='EMAHook', momentum=5e-4, update_buffers=True)

# The learning rate is for 8 GPUs x 64 images.
auto_scale_lr = dict(enable=False, base_batch_size=512)
