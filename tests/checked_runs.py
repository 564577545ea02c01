"""Trains on a dataset whatever its check says, and measures what a run makes of it."""

import gc
import multiprocessing
import os
from argparse import Namespace
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from casvit.tables import IGNORE_INDEX
from casvit_mm.commands.data import audited
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.finetune.base import choose_base
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.plan import make_plan

BASES = dict(
    detection='retinanet_casvit-xs_fpn_1x_coco',
    instance='mask_rcnn_casvit-xs_demo_shapes',
    semantic='semantic_fpn_casvit-xs_demo_shapes',
)


def check(root, task):
    """Reads and audits a dataset as `casvit finetune` does."""
    return audited(read_dataset(root, task), task)


def written_config(audit, task, folder: Path, **options) -> Path:
    """The config that `casvit finetune` writes, even if the dataset has errors."""
    usual = dict(
        **dict(data=str(audit.dataset.root), task=task, size='xs', config=BASES[task], heads=None),
        **dict(no_augmentation=True, val_share=0.3, balance=False, image_size=64, batch_size=4),
        **dict(epochs=1, learning_rate=1e-4, freeze=0, layer_decay=None, no_ema=True),
        **dict(patience=0, seed=0),
    )
    args = Namespace(**{**usual, **options})
    plan = make_plan(args, audit, folder, choose_base(args, None))
    file = folder / 'config.py'
    file.write_text(config_text(plan), encoding='utf-8')
    return file


def run(config: Path) -> int:
    """Trains an epoch, validates and tests, without the run's own check; returns the exit code.

    In a process of its own: data that no run should ever see can end it with a signal.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['quick_runs', 'mmdet.models', 'mmseg.models', 'casvit_mm'])
    process = context.Process(target=_train_and_test, args=(config,))
    process.start()
    process.join()
    return process.exitcode


def _train_and_test(config: Path) -> None:
    log = os.open(config.with_suffix('.log'), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    import torch
    from quick_runs import QUICK, run_tool

    torch.set_num_threads(1)
    # As in conftest.py.
    gc.freeze()
    semantic = 'max_iters' in config.read_text(encoding='utf-8')
    options = [option for option in QUICK if not (semantic and 'train_cfg' in option)]
    options += ['train_cfg.max_iters=2', 'train_cfg.val_interval=2'] if semantic else []
    code = run_tool('train', [config, '--no-data-check', *options])
    if not code:
        checkpoint = next(iter(sorted(config.parent.glob('*_[0-9]*.pth'))))
        code = run_tool('test', [config, checkpoint, '--no-data-check', *options])
    os._exit(code)


def built(config: Path, split: str):
    """The dataset of a split as the run builds it, without its transforms."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    dataset = dict(cfg[f'{split}_dataloader'].dataset)
    return DATASETS.build({**dataset, 'pipeline': [], 'test_mode': True})


def objects_of(config: Path, split: str) -> list[dict]:
    """The objects of a split that a run learns from."""
    dataset = built(config, split)
    return [
        dict(instance, img_path=info['img_path'])
        for info in map(dataset.get_data_info, range(len(dataset)))
        for instance in info['instances']
        if not instance['ignore_flag']
    ]


def labels_of(config: Path, split: str):
    """The semantic masks of a split as a run loads them. Yields arrays of shape ``(H, W)``."""
    dataset = built(config, split)
    from mmseg.datasets.transforms import LoadAnnotations

    for info in map(dataset.get_data_info, range(len(dataset))):
        yield LoadAnnotations()(dict(info))['gt_seg_map']


__all__ = ['IGNORE_INDEX', 'built', 'check', 'labels_of', 'objects_of', 'run', 'written_config']
