"""How cost grows with the input: the exponent of a power law, which is 1 if it grows linearly."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

LEAST_POINTS = 3


def growth(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fits a straight line to log(time) over log(pixels) for each model and variant.

    Args:
        cases: Records of the cases of a group.

    Returns:
        For each series of at least three sizes: the model and variant, what grows
        (``'image_size'`` at a fixed batch size, or ``'batch_size'`` at a fixed image size), the
        points (pixels per batch, seconds), the exponent, and the largest relative deviation from
        the line.
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
    """Fits a power law; returns its exponent and the largest relative deviation from it."""
    sizes, times = np.log(np.array(points, dtype=float)).T
    slope, offset = np.polyfit(sizes, times, 1)
    deviations = np.abs(np.expm1(times - (slope * sizes + offset)))
    return float(slope), float(deviations.max())
