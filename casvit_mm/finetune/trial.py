"""Runs a config for a few steps and a short validation, for its memory to be watched.

A process of its own: ``python -m casvit_mm.finetune.trial CONFIG``. Its last line is JSON.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from casvit_mm.config.view import ConfigView
from casvit_mm.engine.runner import CASViTRunner
from casvit_mm.models.optional import forget_broken_packages

TRAINED_BATCHES, VALIDATED_PICTURES = 3, 4


def main(config: str) -> dict[str, int | None]:
    """Takes the steps and validates.

    Args:
        config: Path of the config.

    Returns:
        ``gpu``: memory that it reserved on the GPU, in bytes; None without a GPU.
    """
    forget_broken_packages()
    cfg = Config.fromfile(config)
    with TemporaryDirectory() as work_dir:
        shorten(cfg, Path(work_dir))
        CASViTRunner.from_cfg(cfg).train()
    return dict(gpu=torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None)


def shorten(cfg: Config, work_dir: Path) -> None:
    """Makes a run of a few steps out of a config, with the same model, loaders and validation.

    It sees pictures of every size that there is, the largest among them.

    Args:
        cfg: The config, changed in place.
        work_dir: Where the run writes.
    """
    init_default_scope(ConfigView(cfg).scope)
    cfg.work_dir, cfg.load_from, cfg.log_level = str(work_dir), None, 'ERROR'
    steps = dict(type='IterBasedTrainLoop', max_iters=TRAINED_BATCHES)
    cfg.train_cfg = ConfigDict(**steps, val_interval=TRAINED_BATCHES)
    cfg.param_scheduler = None
    cfg.optim_wrapper.optimizer.lr = 1e-6
    cfg.default_hooks.update(checkpoint=None, logger=None)
    train = cfg.train_dataloader
    for split, number in (
        ('train', TRAINED_BATCHES * train.batch_size),
        ('val', VALIDATED_PICTURES),
    ):
        for dataset in ConfigView(cfg).datasets(split):
            _take_sizes(dataset, number)


def _take_sizes(dataset: ConfigDict, number: int) -> None:
    """Leaves a data set this number of pictures, from its largest to its smallest."""
    whole = DATASETS.build({**dataset, 'pipeline': []})
    areas = [_area(whole.get_data_info(index)['img_path']) for index in range(len(whole))]
    largest_first = np.argsort(areas)[::-1]
    places = np.linspace(0, len(areas) - 1, min(number, len(areas))).round().astype(int)
    dataset.indices = largest_first[places].tolist()


def _area(file: str) -> int:
    try:
        with Image.open(file) as picture:
            return picture.width * picture.height
    except Exception:
        # Pillow's parsers raise anything for a damaged file.
        return 0


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1])))
