"""What can be counted without a clock: parameters, MACs, activations, and how MACs grow."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from casvit_mm.benchmark.flops import activations, macs, macs_by_operator, parameters
from casvit_mm.benchmark.growth import power_law


def facts(backbone: nn.Module, side: int) -> dict[str, int]:
    """Counts what a backbone has and does for one image.

    Args:
        backbone: In eval mode, on the CPU.
        side: Side of the square image, in pixels.

    Returns:
        ``parameters``, ``macs`` and ``activations``; see :mod:`casvit_mm.benchmark.flops`.
    """
    image = torch.rand(1, 3, side, side)
    return {
        'parameters': parameters(backbone),
        'macs': macs(backbone, image),
        'activations': activations(backbone, image),
    }


def growth_of_macs(
    module: nn.Module, inputs: Sequence[tuple[int, Tensor]]
) -> dict[str, Any] | None:
    """Fits a power law to the MACs of a module over the area of its image.

    Args:
        module: A backbone or token mixer in eval mode, on the CPU.
        inputs: Pixels of the image, and the input of the module, at least two.

    Returns:
        ``points`` (pixels, MACs) and the ``exponent``; under ``steepest`` the ``operator`` whose
        MACs grow fastest, by torch's name, and its ``exponent``: of those that grow equally fast to
        two decimals, the one with most MACs. None if the module has no MACs.
    """
    counted = [(pixels, macs_by_operator(module, each)) for pixels, each in inputs]
    points = [(pixels, sum(counts.values())) for pixels, counts in counted]
    if not all(total for _, total in points):
        return None
    exponents = {
        name: power_law([(pixels, counts[name]) for pixels, counts in counted])[0]
        for name in counted[0][1]
        if all(counts.get(name) for _, counts in counted)
    }
    _, largest = counted[-1]
    steepest = max(exponents, key=lambda name: (round(exponents[name], 2), largest[name]))
    return {
        'points': points,
        'exponent': power_law(points)[0],
        'steepest': {'operator': steepest, 'exponent': exponents[steepest]},
    }
