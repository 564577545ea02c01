"""How cost grows with the input: the exponent of a power law, which for a linear cost is 1."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

LEAST_POINTS = 3


def growth(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fits a straight line to log(time) over log(pixels), by model and variant.

    Args:
        cases: Records of the cases of a group.

    Returns:
        For each series of at least three sizes: what it is, over what it grows (``'image_size'``
        at one batch size, or ``'batch_size'`` at one image size), its points (pixels of the whole
        batch, seconds), the exponent, and the largest deviation from the line as a share of the
        time.
    """
    found = []
    for over, fixed in (('image_size', 'batch_size'), ('batch_size', 'image_size')):
        shared = ('model', 'label', 'name', 'mode', fixed)
        ordered = sorted(cases, key=lambda case: [str(case[key]) for key in shared])
        for values, members in groupby(ordered, key=lambda case: [case[key] for key in shared]):
            points = sorted(
                (case['batch_size'] * case['image_size'] ** 2, case['seconds']['median'])
                for case in members
            )
            if len(points) >= LEAST_POINTS:
                exponent, deviation = power_law(points)
                series = dict(zip(shared, values, strict=True), over=over, points=points)
                found.append({**series, 'exponent': exponent, 'deviation': deviation})
    return found


def power_law(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Exponent of a power law through points, and the largest relative deviation from it."""
    sizes, times = np.log(np.array(points, dtype=float)).T
    slope, offset = np.polyfit(sizes, times, 1)
    deviations = np.abs(np.expm1(times - (slope * sizes + offset)))
    return float(slope), float(deviations.max())
