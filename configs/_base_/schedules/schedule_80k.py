_base_ = './schedule_40k.py'
max_iters = 80000
train_cfg = dict(max_iters=max_iters, val_interval=8000)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
