"""Random numbers that depend on the seed and a place in the run alone."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from casvit_mm.engine.exact.positions import PositionedBatch
from casvit_mm.engine.exact.workers import outlive_signals

SAMPLES, STEPS, VALIDATIONS = 1, 2, 3
"""Keep the numbers of samples, steps and validations apart."""


def seed_step(seed: int, iteration: int, rank: int, kind: int = STEPS) -> None:
    """Sets the random state that the model gets in a step: dropout, drop path, sampled boxes.

    Args:
        seed: Seed of the run.
        iteration: Steps before it.
        rank: Rank of the process.
        kind: What the step is for.
    """
    first, *numbers = _numbers(seed, kind, iteration, rank)
    random.seed(first)
    np.random.seed(numbers)
    # Those of all devices.
    torch.manual_seed(first)


@contextmanager
def seeded_sample(seed: int, epoch: int, position: int) -> Iterator[None]:
    """Context with the random state in which a sample is loaded; the old one comes back.

    Args:
        seed: Seed of the run.
        epoch: Passes over the dataset before this one.
        position: Position of the sample in this pass, over all processes.
    """
    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    first, *numbers = _numbers(seed, SAMPLES, epoch, position)
    random.seed(first)
    np.random.seed(numbers)
    # torch.manual_seed would also seed the devices, which load nothing.
    torch.random.default_generator.manual_seed(first)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.random.set_rng_state(before[2])


def _numbers(*place: int) -> list[int]:
    return np.random.SeedSequence(place).generate_state(4).tolist()


class SeededSamples:
    """Loads the samples of a batch, each with random numbers of its own.

    Set as ``__getitems__`` of a dataset, which torch's DataLoader calls with all indices of a
    batch, in whichever process loads it.

    Args:
        dataset: The dataset.
        seed: Seed of the run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        """Loads samples.

        Args:
            indices: Their indices; those of a :class:`PositionedBatch` know their positions.
        """
        outlive_signals()
        if not isinstance(indices, PositionedBatch):
            return [self.dataset[index] for index in indices]
        samples = []
        for index, position in zip(indices, indices.positions, strict=True):
            with seeded_sample(self.seed, indices.epoch, position):
                samples.append(self.dataset[index])
        return samples


def load_with_care(loader: DataLoader, seed: int) -> None:
    """Lets the processes of a loader outlive signals, and seed samples whose position they know.

    Args:
        loader: The loader; changed in place.
        seed: Seed of the run.
    """
    dataset: Any = loader.dataset
    # A list takes no attributes, and nothing about its samples is random.
    if not hasattr(dataset, '__getitems__') and hasattr(dataset, '__dict__'):
        dataset.__getitems__ = SeededSamples(dataset, seed)
