"""Checks the data of a config before a run, with the check for its task."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from casvit_mm.datasets.preflight.classification import check_classification_data
from casvit_mm.datasets.preflight.detection import check_detection_data
from casvit_mm.datasets.preflight.semantic import check_semantic_data
from casvit_mm.datasets.preflight.unsafe_masks import refuse_unsafe_masks

CHECKS = {
    'mmdet': check_detection_data,
    'mmseg': check_semantic_data,
    'mmpretrain': check_classification_data,
}


def check_data(
    cfg: Config | Mapping[str, Any], splits: Sequence[str], *, crashes_only: bool = False
) -> list[str]:
    """Checks the datasets of a config, and the model's class counts against them.

    Args:
        cfg: The config; its ``default_scope`` determines the task.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``.
        crashes_only: Whether to check only what would crash the process, without an exception.

    Returns:
        One line per dataset that summarises it; empty for tasks without a check.

    Raises:
        DatasetError: A dataset has an error; the message says where, and what to do.
    """
    if crashes_only:
        refuse_unsafe_masks(cfg, splits)
        return []
    check = CHECKS.get(cfg.get('default_scope', ''))
    return check(cfg, splits) if check else []
