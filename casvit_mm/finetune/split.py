"""Splits an unsplit dataset evenly by class."""

import warnings
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

from casvit.errors import DatasetError

Item = TypeVar('Item')


def split_evenly(
    labels: Sequence[set[Hashable]], share: float, seed: int, groups: Sequence[Hashable]
) -> list[bool]:
    """Chooses validation images such that each class has the same share of its images among them.

    Iterative stratification (Sechidis et al., On the Stratification of Multi-Label Data, 2011).

    Args:
        labels: Classes of each image; an empty set for background images.
        share: Share of the images for validation, between 0 and 1.
        seed: Random seed.
        groups: Images with the same value stay in one split, such as copies of an image.

    Returns:
        Whether each image is for validation.

    Raises:
        DatasetError: There are too few images, or a package is missing.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    if len(members) < 2:
        raise DatasetError(
            'A dataset of one image cannot be split into training and validation images.'
        )
    names = sorted({name for found in labels for name in found}, key=str)
    # Background images count as a class of their own.
    table = np.zeros((len(members), len(names) + 1), int)
    for row, indices in enumerate(members.values()):
        found = set().union(*(labels[index] for index in indices))
        for name in found:
            table[row, names.index(name)] = 1
        table[row, -1] = not found
    chosen = _choose(table, share, seed)
    wanted = [False] * len(labels)
    for row, indices in enumerate(members.values()):
        for index in indices:
            wanted[index] = bool(chosen[row])
    return wanted


def _choose(table: np.ndarray, share: float, seed: int) -> np.ndarray:
    try:
        from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
    except ImportError as error:
        raise DatasetError(
            'Splitting a dataset needs the package iterative-stratification: '
            "pip install 'casvit-mm[data]'. Or sort the images into folders train and val."
        ) from error
    rows = len(table)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        _, val = next(splitter.split(np.zeros(rows), table))
    chosen = np.zeros(rows, bool)
    chosen[val] = True
    rng = np.random.default_rng(seed)
    # With very few images, rounding may leave one split empty.
    if chosen.all() or not chosen.any():
        chosen[:] = False
        chosen[rng.integers(rows)] = True
    return chosen


def divided(items: Sequence[Item], chosen: Sequence[bool]) -> dict[str, list[Item]]:
    """Divides items into the splits ``train`` and ``val``, in their order.

    Args:
        items: The items.
        chosen: Whether each is for validation.
    """
    splits: dict[str, list[Item]] = dict(train=[], val=[])
    for item, is_val in zip(items, chosen, strict=True):
        splits['val' if is_val else 'train'].append(item)
    return splits
