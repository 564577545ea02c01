"""Runs a few steps and a short validation of a config, so that their memory can be measured.

It runs as a process of its own, ``python -m casvit_mm.finetune.trial CONFIG``, and the last line of
its output is JSON.
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

TRAINED_BATCHES, VALIDATED_IMAGES = 3, 4


def main(config: str) -> dict[str, int | None]:
    """Trains for a few steps and validates.

    Args:
        config: Path of the config.

    Returns:
        ``gpu``: peak memory reserved on the GPU, in bytes; None without a GPU.
    """
    forget_broken_packages()
    cfg = Config.fromfile(config)
    with TemporaryDirectory() as work_dir:
        shorten(cfg, Path(work_dir))
        CASViTRunner.from_cfg(cfg).train()
    return dict(gpu=torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None)


def shorten(cfg: Config, work_dir: Path) -> None:
    """Shortens the run of a config to a few steps, with the same model, loaders and validation.

    It sees images of all sizes in the dataset, the largest among them.

    Args:
        cfg: The config, changed in place.
        work_dir: Folder that the run writes to.
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
        ('val', VALIDATED_IMAGES),
    ):
        for dataset in ConfigView(cfg).datasets(split):
            _take_sizes(dataset, number)


def _take_sizes(dataset: ConfigDict, number: int) -> None:
    """Reduces a dataset to this number of images, spread from its largest to its smallest."""
    built = DATASETS.build({**dataset, 'pipeline': []})
    areas = [_area(built.get_data_info(index)['img_path']) for index in range(len(built))]
    largest_first = np.argsort(areas)[::-1]
    places = np.linspace(0, len(areas) - 1, min(number, len(areas))).round().astype(int)
    dataset.indices = largest_first[places].tolist()


def _area(file: str) -> int:
    try:
        with Image.open(file) as image:
            return image.width * image.height
    except Exception:
        # Pillow's parsers raise all kinds of exceptions for damaged files.
        return 0


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1])))
