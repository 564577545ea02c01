"""The masks of objects: read once, and drawn on canvases of several sizes."""

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as rle

from casvit.results import LocalMask
from casvit_mm.datasets.formats.coco.file import is_number
from casvit_mm.datasets.object_masks.coding import encode_mask
from casvit_mm.report.audit.drawn import Frame, View

NOTHING = LocalMask(0, 0, np.zeros((0, 0), bool))
# Points of polygons in the image, each of the shape (N, 2), or a mask in the size of the image.
Shape = list[np.ndarray] | LocalMask


def polygons_in(segmentation: object) -> list[np.ndarray]:
    """The points of the polygons of an annotation, also of those that a run cannot read.

    Args:
        segmentation: Its segmentation: a list of polygons, or one that is in no list.

    Returns:
        Shapes: ``(N, 2)``.
    """
    if not isinstance(segmentation, list):
        return []
    parts = segmentation if any(isinstance(part, list) for part in segmentation) else [segmentation]
    return [
        np.array(part[: len(part) // 2 * 2], float).reshape(-1, 2)
        for part in parts
        if isinstance(part, list) and len(part) >= 2 and all(map(is_number, part))
    ]


def shape_of(segmentation: object, view: View) -> Shape:
    """The shape of an object; empty if it has none that can be drawn."""
    if isinstance(segmentation, list):
        return [points for points in polygons_in(segmentation) if len(points) > 2]
    encoded = encode_mask(segmentation, (view.width, view.height))
    if encoded is None or list(encoded['size']) != [view.height, view.width]:
        return NOTHING
    try:
        return LocalMask.crop(rle.decode(encoded) > 0)
    except ValueError:
        return NOTHING


def drawn_shape(shape: Shape, frame: Frame) -> LocalMask:
    """The pixels of a canvas that a shape covers."""
    if isinstance(shape, LocalMask):
        return _resized(shape, frame)
    return _filled(shape, frame)


def _resized(mask: LocalMask, frame: Frame) -> LocalMask:
    if not mask.bitmap.size:
        return NOTHING
    height, width = mask.bitmap.shape
    corners = np.array([(mask.x, mask.y), (mask.x + width, mask.y + height)])
    (x1, y1), (x2, y2) = frame.places(corners).round().astype(int).tolist()
    size = max(1, x2 - x1), max(1, y2 - y1)
    bitmap = cv2.resize(mask.bitmap.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    room = frame.canvas[y1:, x1:].shape
    return LocalMask(x1, y1, bitmap[: room[0], : room[1]])


def _filled(polygons: Sequence[np.ndarray], frame: Frame) -> LocalMask:
    """Fills polygons where they are: at the size of the whole image this takes far longer."""
    height, width = frame.canvas.shape[:2]
    # Coordinates of a file may be too large for an integer.
    limit = max(height, width)
    placed = [
        np.clip(np.nan_to_num(frame.places(points)), -limit, 2 * limit).round().astype(np.int32)
        for points in polygons
    ]
    if not placed:
        return NOTHING
    corners = np.concatenate(placed)
    low = np.maximum(corners.min(0), 0)
    high = np.minimum(corners.max(0) + 1, (width, height))
    if (high <= low).any():
        return NOTHING
    bitmap = np.zeros((high - low)[::-1], np.uint8)
    for points in placed:
        # One by one: together, where two overlap would be outside.
        cv2.fillPoly(bitmap, [points - low.astype(np.int32)], (1,))
    return LocalMask(int(low[0]), int(low[1]), bitmap > 0)
