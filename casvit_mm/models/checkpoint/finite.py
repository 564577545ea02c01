"""Finds weights that are NaN or infinite: they are those of a run that diverged."""

import math
from collections.abc import Mapping

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn

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


def all_finite(model: nn.Module) -> bool:
    """Whether all weights and batch norm statistics of a model are finite.

    Args:
        model: The model.
    """
    tensors: list[Tensor] = list(model.parameters())
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            tensors += [b for b in (module.running_mean, module.running_var) if b is not None]
    return all(map(is_finite, tensors))


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
