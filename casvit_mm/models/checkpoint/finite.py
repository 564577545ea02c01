"""Finds weights that are NaN or infinite: they are those of a run that diverged."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from casvit.errors import DamagedCheckpointError
from casvit.names import printable


@torch.no_grad()
def is_finite(values: Tensor) -> bool:
    """Whether all values of a tensor are finite; those that are not floating point are.

    Args:
        values: The tensor, of any shape.
    """
    if not (values.is_floating_point() or values.is_complex()) or values.is_meta:
        return True
    if values.element_size() == 1:
        # torch computes nothing with eight bits.
        values = values.float()
    # If a value is not finite, neither is their sum. A sum may also overflow, so the values are
    # then checked one by one.
    total = values.sum()
    if values.is_complex():
        return bool(total.isfinite()) or bool(values.isfinite().all())
    return math.isfinite(total) or bool(values.isfinite().all())


def require_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Checks the weights of a checkpoint.

    Args:
        weights: The weights, by name.
        source: Name of the file, for the message.

    Raises:
        DamagedCheckpointError: A value is NaN or infinite; the message names the first such weight.
    """
    for name, values in weights.items():
        if not is_finite(values):
            what = 'NaN' if bool(values.isnan().any()) else 'infinite'
            reason = f'weight {printable(name)} has values that are {what}'
            raise DamagedCheckpointError(
                f'The checkpoint {source} cannot be used: its {reason}. The run that wrote it had '
                'diverged: use an earlier checkpoint.',
                f'its {reason}',
            )
