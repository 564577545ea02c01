"""Reads the results of finished runs, to check that faster training does not change accuracy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import UserError
from casvit_mm.speed.training import TrainingSpeed

METRICS = ('coco/bbox_mAP', 'coco/segm_mAP', 'mIoU', 'accuracy/top1')


class RunError(UserError, ValueError):
    """A folder does not belong to a finished run; the message says which."""


def read_run(work_dir: Path) -> dict[str, Any]:
    """Reads the settings and results of a finished training run.

    Args:
        work_dir: Its folder.

    Returns:
        Name of the folder, seed, ``speed`` options, and the metrics of the last validation.

    Raises:
        RunError: There is no config or no validation in the folder.
    """
    configs = sorted(work_dir.glob('*/vis_data/config.py'))
    if not configs:
        raise RunError(f'{work_dir} is not the folder of a training run: there is no config in it.')
    cfg = Config.fromfile(configs[-1])
    lines = [
        json.loads(line)
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    validations = [line for line in lines if any(metric in line for metric in METRICS)]
    if not validations:
        raise RunError(f'The run in {work_dir} has no validation results.')
    return {
        'run': work_dir.resolve().name,
        'seed': cfg.get('randomness', {}).get('seed'),
        'speed': asdict(TrainingSpeed.of(cfg.get('speed') or {})),
        'metrics': {key: validations[-1][key] for key in METRICS if key in validations[-1]},
    }
