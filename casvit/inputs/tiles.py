"""Inference on very large images: overlapping tiles, and merging of their results."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from casvit.results import Detections, SemanticMap

Predict = Callable[[Sequence[np.ndarray]], Sequence[Any]]


class Tile(NamedTuple):
    """A rectangle of an image: columns ``x1`` to ``x2``, rows ``y1`` to ``y2``, end excluded."""

    x1: int
    y1: int
    x2: int
    y2: int


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Positions at which tiles begin along one side.

    As few tiles as possible cover the side, evenly spread. All have length ``tile`` (a side that
    is shorter gets one tile of its own length), and neighbours share at least ``overlap``.

    Args:
        length: Length of the side in pixels.
        tile: Length of a tile.
        overlap: Smallest overlap of neighbours; less than ``tile``.

    Raises:
        ValueError: ``overlap`` is not between 0 and ``tile`` - 1.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f'an overlap of {overlap} does not fit tiles of {tile} pixels')
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [index * (length - tile) // (count - 1) for index in range(count)]


def tiles(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Tiles that cover an image, row by row; see :func:`starts`."""
    return [
        Tile(x, y, min(x + tile, width), min(y + tile, height))
        for y in starts(height, tile, overlap)
        for x in starts(width, tile, overlap)
    ]


def predict_tiled(
    predict: Predict,
    image: np.ndarray,
    tile: int,
    overlap: int,
    combine: Callable[[Sequence[Any], Sequence[Tile], int, int], Any],
    *,
    batch_size: int = 1,
    on_tiles: Callable[[int, int], None] | None = None,
) -> Any:
    """Runs inference tile by tile and combines the results.

    Args:
        predict: Returns the result of each of several images of the same size.
        image: The image. Shape: ``(H, W, C)``.
        tile: Side of a tile in pixels.
        overlap: Overlap of tiles in pixels; larger than the largest object that has to be found
            in one piece.
        combine: Combines the results of the tiles: :func:`merge` for detections, :func:`stitch`
            for semantic maps.
        batch_size: Tiles per call of ``predict``.
        on_tiles: Called with the number of finished tiles and the number of all tiles: before the
            first batch, and after each.

    Returns:
        The result for the whole image.
    """
    height, width = image.shape[:2]
    windows = tiles(height, width, tile, overlap)
    found: list[Any] = []
    for first in range(0, len(windows), batch_size):
        if on_tiles is not None:
            on_tiles(first, len(windows))
        batch = windows[first : first + batch_size]
        found += predict([image[w.y1 : w.y2, w.x1 : w.x2] for w in batch])
    if on_tiles is not None:
        on_tiles(len(windows), len(windows))
    return combine(found, windows, height, width)


def stitch(
    found: Sequence[SemanticMap], windows: Sequence[Tile], height: int, width: int
) -> SemanticMap:
    """Combines the semantic maps of overlapping tiles; each overlap is divided in the middle.

    Args:
        found: The semantic map of each tile.
        windows: The tiles, a grid that covers the image.
        height: Height of the image.
        width: Width of the image.

    Returns:
        The semantic map of the image.
    """
    columns = _halves(sorted({(window.x1, window.x2) for window in windows}))
    rows = _halves(sorted({(window.y1, window.y2) for window in windows}))
    class_ids = np.zeros((height, width), found[0].class_ids.dtype)
    for result, window in zip(found, windows, strict=True):
        (left, right), (top, bottom) = columns[window.x1], rows[window.y1]
        class_ids[top:bottom, left:right] = result.class_ids[
            top - window.y1 : bottom - window.y1, left - window.x1 : right - window.x1
        ]
    return replace(found[0], class_ids=class_ids, height=height, width=width, image=None)


def _halves(spans: Sequence[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Divides overlapping spans in the middle of each overlap; keyed by the start of each span."""
    middles = [(end + begin) // 2 for (_, end), (begin, _) in pairwise(spans)]
    bounds = [spans[0][0], *middles, spans[-1][1]]
    return {begin: (bounds[i], bounds[i + 1]) for i, (begin, _) in enumerate(spans)}


def merge(
    found: Sequence[Detections],
    windows: Sequence[Tile],
    height: int,
    width: int,
    *,
    iou_threshold: float = 0.5,
    cover_threshold: float = 0.6,
) -> Detections:
    """Merges the detections of overlapping tiles, so that each object is reported once.

    An object that lies entirely in two tiles is found twice, with similar boxes: non-maximum
    suppression by class keeps the better one. An object cut by the edge of a tile is found as a
    fragment there and in full in the neighbour. These boxes overlap too little for non-maximum
    suppression, so a fragment is removed if a larger box of its class from another tile covers it.

    Args:
        found: Detections of each tile, in pixels of the tile.
        windows: The tiles.
        height: Height of the image.
        width: Width of the image.
        iou_threshold: IoU above which boxes of a class are the same object.
        cover_threshold: Share of a fragment that the larger box has to cover.

    Returns:
        The detections in pixels of the image, best first.
    """
    parts = [d.moved(w.x1, w.y1, height, width) for d, w in zip(found, windows, strict=True)]
    merged = Detections.concatenate(parts)
    origin = np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])
    cut = np.concatenate(
        [
            _touches_inner_edge(part.boxes, window, height, width)
            for part, window in zip(parts, windows, strict=True)
        ]
    )
    merged = merged.select(~_covered_fragments(merged, origin, cut, cover_threshold))
    return merged.select(nms_by_class(merged.boxes, merged.scores, merged.class_ids, iou_threshold))


def nms_by_class(
    boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, iou_threshold: float
) -> np.ndarray:
    """Greedy non-maximum suppression among the boxes of each class.

    Args:
        boxes: x1, y1, x2, y2. Shape: ``(N, 4)``, float32.
        scores: Shape: ``(N,)``.
        class_ids: Shape: ``(N,)``.
        iou_threshold: IoU above which the box with the lower score is removed.

    Returns:
        Indices of the remaining boxes, the best first, ties in their order. Shape: ``(M,)``.
    """
    order = np.argsort(-scores, kind='stable')
    boxes, class_ids = boxes[order], class_ids[order]
    areas = _areas(boxes)
    stays = np.ones(len(boxes), bool)
    for own in _by_class(class_ids):
        neighbours = _Neighbours(boxes, own)
        for index in own:
            if not stays[index]:
                continue
            # Better boxes come first and have been compared already.
            others = neighbours.of(index)
            others = others[(others > index) & stays[others]]
            shared = _shared_areas(boxes[index], boxes[others])
            with np.errstate(invalid='ignore', divide='ignore'):
                overlap = shared / (areas[index] + areas[others] - shared)
            stays[others[overlap > iou_threshold]] = False
    return order[stays]


class _Neighbours:
    """Finds the boxes that may overlap a given one: only a few in a large image.

    Args:
        boxes: Shape: ``(N, 4)``.
        own: Indices of the boxes to search.
    """

    def __init__(self, boxes: np.ndarray, own: np.ndarray) -> None:
        self.boxes = boxes
        self.by_left = own[np.argsort(boxes[own, 0], kind='stable')]
        self.lefts = boxes[self.by_left, 0]
        self.widest = (boxes[own, 2] - boxes[own, 0]).max()

    def of(self, index: int) -> np.ndarray:
        """Indices of all boxes that share columns with a box, and of some others."""
        left, _, right, _ = self.boxes[index]
        # One pixel of tolerance, because widths are rounded.
        first = np.searchsorted(self.lefts, left - self.widest - 1)
        return self.by_left[first : np.searchsorted(self.lefts, right, side='right')]


def _by_class(class_ids: np.ndarray) -> Iterator[np.ndarray]:
    for class_id in np.unique(class_ids):
        yield np.flatnonzero(class_ids == class_id)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _shared_areas(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.clip(sides, 0, None).prod(1)


def _touches_inner_edge(
    boxes: np.ndarray, window: Tile, height: int, width: int, margin: float = 2.0
) -> np.ndarray:
    """Which boxes touch an edge of their tile that is not an edge of the image."""
    return (
        ((boxes[:, 0] <= window.x1 + margin) & (window.x1 > 0))
        | ((boxes[:, 1] <= window.y1 + margin) & (window.y1 > 0))
        | ((boxes[:, 2] >= window.x2 - margin) & (window.x2 < width))
        | ((boxes[:, 3] >= window.y2 - margin) & (window.y2 < height))
    )


def _covered_fragments(
    detections: Detections, origin: np.ndarray, cut: np.ndarray, threshold: float
) -> np.ndarray:
    """Which boxes are fragments covered by a larger box of another tile. Shape: ``(N,)``, bool."""
    boxes, areas = detections.boxes, _areas(detections.boxes)
    covered = np.zeros(len(boxes), bool)
    for own in _by_class(detections.class_ids):
        neighbours = _Neighbours(boxes, own)
        for index in own[cut[own]]:
            others = neighbours.of(index)
            others = others[(origin[others] != origin[index]) & (areas[others] > areas[index])]
            shared = _shared_areas(boxes[index], boxes[others])
            covered[index] = np.any(shared > threshold * areas[index])
    return covered
