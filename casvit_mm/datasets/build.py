"""Datasets as a run builds them."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import set_random_seed

from casvit.errors import DatasetError
from casvit_mm.config.view import ConfigView


def build_dataset(cfg: Config, split: str) -> Any:
    """Builds a dataset, and seeds what its pipeline draws at random.

    Args:
        cfg: A config with a loader of that split.
        split: ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        The dataset; it has an image.

    Raises:
        DatasetError: No image is left in it.
    """
    init_default_scope(ConfigView(cfg).scope)
    set_random_seed((cfg.get('randomness') or {}).get('seed') or 0)
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    if not len(dataset):
        raise DatasetError(f'The {split} dataset of {cfg.filename} has no image left in it.')
    return dataset


def built_leaves(dataset: Any) -> Iterator[Any]:
    """The datasets that read files, inside the wrappers around them.

    Args:
        dataset: A built dataset.
    """
    inner = getattr(dataset, 'datasets', None)
    if inner is None and hasattr(dataset, 'dataset'):
        inner = [dataset.dataset]
    if inner is None:
        yield dataset
        return
    for part in inner:
        yield from built_leaves(part)
