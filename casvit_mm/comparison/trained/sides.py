"""Evaluates a checkpoint at other sizes of the test images.

It runs as a process of its own, ``python -m casvit_mm.comparison.trained.sides CONFIG CHECKPOINT
OUT SIDE ...``, and writes the metrics by side to the JSON file OUT. One process evaluates all
sizes: imports take most of the time.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config

from casvit.files import write_whole
from casvit_mm.comparison.trained.recipe import set_side
from casvit_mm.config.edit import drop_pretrained
from casvit_mm.engine.runner import CASViTRunner
from casvit_mm.models.optional import forget_broken_packages


def main(config: str, checkpoint: str, out: str, *sides: str) -> None:
    """Evaluates, and writes the metrics.

    Args:
        config: Path of the config.
        checkpoint: Path of the checkpoint.
        out: The file to write.
        *sides: Sides of the test images, in pixels.
    """
    forget_broken_packages()
    write_whole(Path(out), json.dumps(evaluate(config, checkpoint, [int(each) for each in sides])))


def evaluate(config: str, checkpoint: str, sides: Sequence[int]) -> dict[int, dict[str, float]]:
    """Tests a checkpoint with images of several sizes.

    Args:
        config: Path of the config.
        checkpoint: Path of the checkpoint.
        sides: Sides of the test images, in pixels.

    Returns:
        The metrics of the evaluator, by side.
    """
    metrics = {}
    # One folder for all: mmengine keeps the visualizer of the first runner.
    with TemporaryDirectory() as work_dir:
        for side in sides:
            cfg = Config(Config.fromfile(config).to_dict(), format_python_code=False)
            cfg.work_dir, cfg.load_from, cfg.resume = work_dir, checkpoint, False
            drop_pretrained(cfg.model)
            set_side(cfg, side)
            found = CASViTRunner.from_cfg(cfg).test()
            metrics[side] = {name: float(value) for name, value in found.items()}
    return metrics


if __name__ == '__main__':
    main(*sys.argv[1:])
