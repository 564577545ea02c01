"""Polygons of objects: flat lists of alternating x and y in pixels, as COCO stores them."""

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from casvit.sentences import short
from casvit_mm.datasets.object_masks.run_lengths import MAX_PIXELS

# pycocotools fills polygons in C without checks: a corner a billion pixels away exhausts the
# memory. Steps of a fifth of a pixel along the edges of a polygon; each takes eight bytes in C.
MAX_STEPS = 2**26
LARGEST = 1e100


def polygons_of(segmentation: object) -> list[list[float]]:
    """The polygons of a segmentation that have at least three points."""
    if not isinstance(segmentation, list):
        return []
    return [part for part in segmentation if is_polygon(part)]


def is_polygon(part: Any) -> bool:
    """Whether it is a list of at least three points."""
    return is_list_of_numbers(part) and encloses(part)


def encloses(numbers: Sequence[float]) -> bool:
    """Whether a list is long enough for three points, and has a y for every x."""
    return len(numbers) >= 6 and len(numbers) % 2 == 0


def polygon_issue(polygon: Sequence[float], size: tuple[float, float]) -> str:
    """Explains why a polygon cannot be filled.

    Args:
        polygon: Finite numbers: alternating x and y in pixels.
        size: Width and height of the image.

    Returns:
        The reason, without a subject; empty if it can be filled.
    """
    low, high = min(polygon), max(polygon)
    width, height = size
    far = 10 * (width + height) + 1000
    # A cheap upper bound on the steps: nearly every polygon is far below it.
    near = -far <= low and high <= far and width * height <= MAX_PIXELS
    if near and len(polygon) * (high - low + 1) * 2.5 <= MAX_STEPS:
        return ''
    shown = f'an image of {short(width)}x{short(height)}'
    if width * height > MAX_PIXELS:
        return f'has a polygon in {shown} pixels, which is too large'
    if not near:
        value = low if low < -far else high
        return f'has a polygon with the coordinate {value:g}, far outside {shown}'
    corners = np.asarray(polygon, float).reshape(-1, 2)
    edges = np.abs(corners - np.roll(corners, 1, axis=0)).max(1)
    if 5 * (edges + 1).sum() > MAX_STEPS:
        return f'has a polygon that goes back and forth over {shown} with {len(corners):,} points'
    return ''


def polygon_area(polygon: Sequence[float]) -> float:
    """The area that a polygon encloses in square pixels, by the shoelace formula."""
    x, y = np.asarray(polygon, float).reshape(-1, 2).T
    # Relative to the first point: far from the origin, differences of products lose digits.
    x, y = x - x[0], y - y[0]
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def polygon_bounds(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Corners ``x1, y1, x2, y2`` of the smallest box around some polygons."""
    corners = np.concatenate([np.asarray(part, float).reshape(-1, 2) for part in polygons])
    x1, y1 = corners.min(0).tolist()
    x2, y2 = corners.max(0).tolist()
    return x1, y1, x2, y2


def is_list_of_numbers(value: object) -> TypeGuard[list[float]]:
    """Whether a value is a list of finite numbers."""
    if not isinstance(value, list):
        return False
    # Not number by number: a file as large as COCO's has millions of coordinates.
    kinds = set(map(type, value))
    if not kinds <= {int, float}:
        return False
    # Integers are unbounded in Python, and large ones may add up to a small sum.
    if int in kinds and not -LARGEST < min(value) <= max(value) < LARGEST:
        return False
    return math.isfinite(sum(value))
