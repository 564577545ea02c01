"""Weights in the layout of published CAS-ViT files: pseudo-random but fixed, and never stored.

Every tensor is drawn from a generator seeded by its own key. The outputs of the published
implementation with these weights are in ``data/golden/official_outputs.npz``.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TESTS_DATA = Path(__file__).parent / 'data'
GOLDEN = TESTS_DATA / 'golden'
SIZES = ('xs', 's', 'm', 't')


def draw(key: str, shape: list[int]) -> Tensor:
    """The fixed tensor of a key, plausible for its role: activations neither vanish nor explode."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith('num_batches_tracked'):
        return torch.tensor(1000, dtype=torch.int64)
    if key.endswith('running_var'):
        value = rng.uniform(1, 4, shape)
    elif key.endswith('running_mean') or (len(shape) == 1 and not key.endswith('weight')):
        value = rng.normal(0, 0.1, shape)
    elif len(shape) == 1:
        value = rng.uniform(0.2, 0.6, shape)
    else:
        value = rng.normal(0, 1 / math.sqrt(int(np.prod(shape[1:]))), shape)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def weights(size: str, kind: str) -> dict[str, Tensor]:
    """All tensors of a published file; kind is ``backbone``, ``classification`` or a head."""
    keys = json.loads((GOLDEN / 'official_keys' / f'{size}_{kind}.json').read_text())
    return {name: draw(name, shape) for name, shape in keys.items()}


def image(height: int, width: int, batch: int = 1) -> Tensor:
    """The golden input, already normalised: ``(batch, 3, height, width)``."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1, (batch, 3, height, width)).astype(np.float32))


def outputs() -> dict[str, np.ndarray]:
    """The outputs of the published implementation."""
    with np.load(GOLDEN / 'official_outputs.npz') as arrays:
        return dict(arrays)
