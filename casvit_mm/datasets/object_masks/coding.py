"""Measures and encodes segmentation masks; checks what reaches the C code of pycocotools."""

from collections.abc import Mapping
from typing import TypedDict

from pycocotools import mask as rle

from casvit.sentences import short
from casvit_mm.datasets.object_masks.polygons import (
    encloses,
    is_list_of_numbers,
    polygon_area,
    polygon_bounds,
    polygon_issue,
    polygons_of,
)
from casvit_mm.datasets.object_masks.run_lengths import decode_counts, run_length_issue

Corners = tuple[float, float, float, float]


class RunLengths(TypedDict):
    """A mask as pycocotools takes it: its height and width, and its compressed run lengths."""

    size: list[int]
    counts: bytes


def mask_issue(segmentation: object, size: tuple[float, float]) -> str:
    """Explains why a segmentation cannot be decoded.

    Args:
        segmentation: Polygons, or run lengths in either form.
        size: Width and height of the image.

    Returns:
        The reason, without a subject; empty if it can be decoded.
    """
    if isinstance(segmentation, Mapping):
        return run_length_issue(segmentation)
    if not isinstance(segmentation, list) or not all(map(is_list_of_numbers, segmentation)):
        return f'has segmentation = {short(segmentation)}'
    for part in segmentation:
        if encloses(part) and (issue := polygon_issue(part, size)):
            return issue
    return ''


def encode_mask(segmentation: object, size: tuple[int, int]) -> RunLengths | None:
    """Encodes a segmentation as COCO run lengths.

    Args:
        segmentation: Polygons, or run lengths in either form.
        size: Width and height of the image.

    Returns:
        Compressed run lengths as pycocotools takes them; None if nothing is usable.
    """
    width, height = size
    if mask_issue(segmentation, size):
        return None
    try:
        if polygons := polygons_of(segmentation):
            return rle.merge(rle.frPyObjects(polygons, height, width))
        if isinstance(segmentation, Mapping):
            if isinstance(segmentation['counts'], list):
                return rle.frPyObjects(segmentation, height, width)
            counts = segmentation['counts'].encode()
            return RunLengths(size=segmentation['size'], counts=counts)
    except (ValueError, TypeError, KeyError):
        return None
    return None


def mask_area(segmentation: object) -> float | None:
    """The area of a mask in square pixels; overlapping polygons count twice.

    Args:
        segmentation: Polygons, or run lengths in either form.

    Returns:
        The area; None if it cannot be decoded.
    """
    if polygons := polygons_of(segmentation):
        return sum(map(polygon_area, polygons))
    if isinstance(segmentation, Mapping) and not run_length_issue(segmentation):
        return float(decode_counts(segmentation['counts'])[1::2].sum())
    return None


def mask_bounds(segmentation: object) -> Corners | None:
    """The smallest box around a mask.

    Args:
        segmentation: Polygons, or run lengths in either form.

    Returns:
        Corners ``x1, y1, x2, y2`` in pixels; None if the mask is empty or cannot be decoded.
    """
    if polygons := polygons_of(segmentation):
        return polygon_bounds(polygons)
    if not isinstance(segmentation, Mapping) or run_length_issue(segmentation):
        return None
    height = segmentation['size'][0]
    runs = decode_counts(segmentation['counts'])
    ends = runs.cumsum()
    starts, ends = (ends - runs)[1::2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return None
    # Columns come one after the other; a run that crosses into the next column touches both edges.
    crosses = starts // height != (ends - 1) // height
    top = 0 if crosses.any() else int((starts % height).min())
    bottom = height if crosses.any() else int(((ends - 1) % height).max()) + 1
    return (
        float(starts[0] // height),
        float(top),
        float((ends[-1] - 1) // height + 1),
        float(bottom),
    )
