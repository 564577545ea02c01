"""A data set of a config, built as a run builds it."""

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import set_random_seed

from casvit.errors import DatasetError


def build_dataset(cfg: Config, split: str) -> Any:
    """Builds a data set, and seeds what its pipeline draws at random.

    Args:
        cfg: A config with a loader of that split.
        split: ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        The data set; it has a picture.

    Raises:
        DatasetError: No picture is left in it.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    set_random_seed((cfg.get('randomness') or {}).get('seed') or 0)
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    if not len(dataset):
        raise DatasetError(f'The {split} data set of {cfg.filename} has no picture left in it.')
    return dataset
