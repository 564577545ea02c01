max_epochs = 30
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# From 0, by which mmengine would have to divide; constant after the warm-up.
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
    # None on biases, scales and shifts: whatever has one dimension.
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
# For custom_hooks: 0.9995 is kept at every step of the optimiser, of the statistics of norms too.
ema_hook = dict(type='EMAHook', momentum=5e-4, update_buffers=True)

# 8 GPUs x 64 images: what the learning rate is for.
auto_scale_lr = dict(enable=False, base_batch_size=512)
