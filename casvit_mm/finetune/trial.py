"""Runs a few steps and a short validation of a config, so that memory and time can be measured.

It runs as a process of its own, ``python -m casvit_mm.finetune.trial CONFIG``. For every batch size
that it reads, a line each, it writes a line of JSON. One process measures several: most of the time
of a short run is spent on imports.
"""

import gc
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from casvit_mm.config.view import ConfigView
from casvit_mm.engine.runner import CASViTRunner
from casvit_mm.models.optional import forget_broken_packages

TRAINED_BATCHES, VALIDATED_IMAGES = 3, 4
# Of slow models, two steps and two images have to do.
AT_LEAST, SLOW = 2, 6.0


def main(config: str) -> None:
    """Measures the batch sizes that are read from the standard input.

    Args:
        config: Path of the config.
    """
    forget_broken_packages()
    # Each dataset collects garbage when it is built: among all that was imported, it takes half a
    # second to find none.
    gc.freeze()
    # Whatever libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    # One folder for all runs: mmengine keeps the visualizer of the first one.
    with TemporaryDirectory() as work_dir:
        for line in sys.stdin:
            answers.write(json.dumps(measure(config, int(line), Path(work_dir))) + '\n')
            answers.flush()
            gc.collect()


def measure(config: str, batch_size: int, work_dir: Path) -> dict[str, float]:
    """Trains for a few steps and validates.

    Args:
        config: Path of the config.
        batch_size: Images per batch.
        work_dir: Folder that the run writes to.

    Returns:
        ``peak``: memory in bytes, 0 if the GPU has too little; ``seconds`` per step and
        ``val_seconds`` per image of the validation.
    """
    # Nobody reads the config that a trial logs, and to format it takes seconds.
    cfg = Config(Config.fromfile(config).to_dict(), format_python_code=False)
    cfg.train_dataloader.batch_size = batch_size
    shorten(cfg, work_dir)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    watch = WatchHook()
    try:
        runner = CASViTRunner.from_cfg(cfg)
        runner.register_hook(watch, 'LOWEST')
        with _until_enough():
            runner.train()
        with _until_enough():
            runner.val_loop.run()
    except torch.cuda.OutOfMemoryError:
        return dict(peak=0, seconds=0.0, val_seconds=0.0)
    peak = torch.cuda.max_memory_reserved() if on_gpu else _peak() + watch.loaders
    return dict(peak=peak, seconds=watch.each('train'), val_seconds=watch.each('val'))


class EnoughError(Exception):
    """Enough steps were measured."""


@contextmanager
def _until_enough() -> Iterator[None]:
    with suppress(EnoughError):
        yield


class WatchHook(Hook):
    """Notes when steps end, and the memory of the processes that load images for them.

    Attributes:
        loaders: The most memory that these processes took, in bytes, without what they share with
            the run.
    """

    def __init__(self) -> None:
        self.loaders = 0
        self.ends: dict[str, list[float]] = {}

    def each(self, mode: str) -> float:
        """Seconds between two steps, without the first one, which also sets things up."""
        ends = self.ends[mode]
        return (ends[-1] - ends[min(1, len(ends) - 2)]) / max(1, len(ends) - 2)

    def before_train(self, runner: Any) -> None:
        """Starts the clock."""
        self.ends['train'] = [time.monotonic()]

    def before_val_epoch(self, runner: Any) -> None:
        """Starts the clock."""
        self.ends['val'] = [time.monotonic()]

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Notes a step."""
        self._note('train', TRAINED_BATCHES)

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        """Notes an image."""
        self._note('val', VALIDATED_IMAGES)

    def _note(self, mode: str, wanted: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends = self.ends[mode]
        ends.append(time.monotonic())
        self.loaders = max(self.loaders, _memory_of_children())
        number = len(ends) - 1
        if number >= wanted or (number >= AT_LEAST and ends[-1] - ends[0] > SLOW):
            raise EnoughError


def shorten(cfg: Config, work_dir: Path) -> None:
    """Shortens the run of a config to a few steps, with the same model, loaders and validation.

    It sees images of all sizes in the dataset, the largest among them.

    Args:
        cfg: The config, changed in place.
        work_dir: Folder that the run writes to.
    """
    init_default_scope(ConfigView(cfg).scope)
    cfg.work_dir, cfg.load_from, cfg.log_level = str(work_dir), None, 'ERROR'
    steps = dict(type='IterBasedTrainLoop', max_iters=TRAINED_BATCHES + 1)
    cfg.train_cfg = ConfigDict(**steps, val_interval=TRAINED_BATCHES + 1)
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


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    with suppress(OSError):
        found = re.search(r'VmHWM:\s*(\d+) kB', Path('/proc/self/status').read_text())
        if found:
            return 1024 * int(found[1])
    memory = psutil.Process().memory_info()
    return getattr(memory, 'peak_wset', memory.rss)


def _memory_of_children() -> int:
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += process.memory_full_info().uss
    return total


if __name__ == '__main__':
    main(sys.argv[1])
