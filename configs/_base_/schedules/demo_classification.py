# A few minutes on two CPU cores, from random weights.
_base_ = './demo.py'

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [dict(warm_up, end=10), dict(cosine, end=max_epochs, T_max=max_epochs)]
# One label per image is a weaker signal than boxes and masks: it is lost at the learning rate of
# the detection demos.
optim_wrapper = dict(
    optimizer=dict(lr=1.2e-3),
    paramwise_cfg=dict(
        _delete_=True, flat_decay_mult=0.0, bias_decay_mult=0.0, norm_decay_mult=0.0
    ),
)
auto_scale_lr = dict(base_batch_size=20)
