"""Looks at the data of a config before a run, with the check that fits its task."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from casvit_mm.datasets.preflight.classification import check_classification_data
from casvit_mm.datasets.preflight.detection import check_detection_data
from casvit_mm.datasets.preflight.semantic import check_semantic_data

CHECKS = {
    'mmdet': check_detection_data,
    'mmseg': check_semantic_data,
    'mmpretrain': check_classification_data,
}


def check_data(cfg: Config | Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """Checks the datasets of a config, and the model's class counts against them.

    Args:
        cfg: The config; its ``default_scope`` tells the task.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``.

    Returns:
        One line per dataset: what it holds. None for tasks that nothing is known of.

    Raises:
        DatasetError: What is wrong, where, and what to do.
    """
    check = CHECKS.get(cfg.get('default_scope'))
    return check(cfg, splits) if check else []
