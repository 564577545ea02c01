"""Builds datasets as a run does."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import set_random_seed

from casvit.errors import DatasetError
from casvit_mm.config.view import ConfigView


def build_dataset(cfg: Config, split: str) -> Any:
    """Builds a dataset and seeds its random transforms.

    Args:
        cfg: A config with a dataloader for the split.
        split: ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        The dataset, with at least one image.

    Raises:
        DatasetError: The dataset is empty.
    """
    init_default_scope(ConfigView(cfg).scope)
    set_random_seed((cfg.get('randomness') or {}).get('seed') or 0)
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    if not len(dataset):
        raise DatasetError(
            f'The {split} dataset of {cfg.filename} has no images left: its folder or annotation '
            'file is empty, or filter_cfg leaves all of them out.'
        )
    return dataset


def built_leaves(dataset: Any) -> Iterator[Any]:
    """Yields the datasets that read files, inside any wrappers.

    Args:
        dataset: A built dataset.
    """
    inner = getattr(dataset, 'datasets', None)
    if inner is None and hasattr(dataset, 'dataset'):
        inner = [dataset.dataset]
    if inner is None:
        yield dataset
        return
    for child in inner:
        yield from built_leaves(child)
