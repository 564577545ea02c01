"""Configs and options for runs of a few seconds, and a way to run several in one process."""

from mmengine.utils import ManagerMixin

from casvit.cli import main

DEMO = 'mask_rcnn_casvit-xs_demo_shapes'
SEGMENTATION_DEMO = 'semantic_fpn_casvit-xs_demo_shapes'
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


def run_tool(name, arguments):
    """Runs a command as in a new process: without singletons that mmengine keeps between runs."""
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()
    return main.run_tool(name, [str(argument) for argument in arguments])
