"""A config and options with which a run takes seconds."""

DEMO = 'mask_rcnn_casvit-xs_demo_shapes'
QUICK = [
    '--cfg-options',
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
    'train_dataloader.batch_size=4',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'env_cfg.mp_cfg.mp_start_method=None',
]
