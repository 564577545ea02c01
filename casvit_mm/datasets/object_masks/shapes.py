"""Shapes that annotation tools draw, as polygons or masks in pixels."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

from casvit.sentences import short
from casvit_mm.datasets.object_masks.coding import RunLengths
from casvit_mm.datasets.object_masks.polygons import polygon_issue
from casvit_mm.datasets.object_masks.run_lengths import MAX_PIXELS

# The polygon of a circle has 99.8 % of its area; a multiple of four keeps its bounds.
CIRCLE_POINTS = 64
# Alternating x and y.
Polygon = list[float]


def numbers_of(values: Iterable[Any]) -> list[float]:
    """Converts values of an annotation file to numbers.

    Raises:
        ValueError: One is not a finite number; the message completes a place in the file.
    """
    values = list(values)
    try:
        numbers = list(map(float, values))
        if math.isfinite(sum(numbers)):
            return numbers
    except (TypeError, ValueError, OverflowError):
        pass
    for value in values:
        try:
            if math.isfinite(float(value)):
                continue
        except (TypeError, ValueError, OverflowError):
            pass
        raise ValueError(f'has {shown(value)} for a coordinate, which is not a finite number')
    return numbers


def shown(value: object) -> str:
    """A value as messages show it; no repr of collections, which may be nested very deeply."""
    if value is None or isinstance(value, (str, int, float)):
        return short(value)
    return 'a list' if isinstance(value, (list, tuple)) else 'an object'


def check_near(values: Sequence[float], size: tuple[int, int]) -> None:
    """Checks that coordinates are in or near an image.

    Args:
        values: The coordinates in pixels.
        size: Width and height of the image.

    Raises:
        ValueError: One is so far away that filling the polygon would take minutes; the message
            completes a place in a file.
    """
    width, height = size
    far = 10 * (width + height) + 1000
    if not values or (-far <= min(values) and max(values) <= far):
        return
    value = max(values, key=abs)
    raise ValueError(
        f'has the coordinate {value:g}, far outside the image of {width}x{height} pixels'
    )


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Polygon:
    """The polygon of a box."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def circle(x: float, y: float, radius: float) -> Polygon:
    """The polygon of a circle, from its centre and radius."""
    points = []
    for step in range(CIRCLE_POINTS):
        angle = 2 * math.pi * step / CIRCLE_POINTS
        points += [x + radius * math.cos(angle), y + radius * math.sin(angle)]
    return points


def rotated(x: float, y: float, width: float, height: float, angle: float) -> Polygon:
    """The polygon of a rotated box, from its centre, sides and angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    points = []
    for right, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        along, across = right * width, down * height
        points += [x + along * cos - across * sin, y + along * sin + across * cos]
    return points


def placed_mask(part: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> RunLengths:
    """Encodes the mask of a part of an image, without making one of the whole image.

    Args:
        part: The mask; what lies outside the image is left out. Shape: ``(h, w)``, bool.
        corner: Its place in the image: x and y of its top left pixel.
        size: Width and height of the image.

    Raises:
        ValueError: The image is too large, or nothing of the mask is in it; the message completes
            a place in a file.
    """
    (x, y), (width, height) = corner, size
    if width * height > MAX_PIXELS:
        raise ValueError(f'has a mask in an image of {width}x{height} pixels, which is too large')
    part = part[max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)]
    columns, rows = np.nonzero(part.T)
    if not len(columns):
        raise ValueError('has a mask without a pixel in the image')
    # Run lengths count down the columns.
    places = (columns + max(0, x)) * height + rows + max(0, y)
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts, ends = places[np.r_[0, gaps + 1]], places[np.r_[gaps, -1]] + 1
    counts = np.diff(np.r_[0, np.stack((starts, ends), axis=1).ravel(), width * height]).tolist()
    counts = counts if counts[-1] else counts[:-1]
    return rle.frPyObjects(dict(size=[height, width], counts=counts), height, width)


def union(
    masks: Sequence[RunLengths], polygons: Sequence[Polygon], size: tuple[int, int]
) -> dict[str, Any]:
    """Joins masks and polygons into the mask of one object, as JSON stores it.

    Args:
        masks: The masks, of the whole image.
        polygons: The polygons.
        size: Width and height of the image.

    Raises:
        ValueError: A polygon cannot be filled; the message completes a place in a file.
    """
    width, height = size
    for polygon in polygons:
        if issue := polygon_issue(polygon, size):
            raise ValueError(issue)
    filled = rle.frPyObjects(list(polygons), height, width) if polygons else []
    joined = rle.merge([*masks, *filled])
    return dict(size=[height, width], counts=joined['counts'].decode())
