"""Very large pictures: overlapping tiles, and for detection one report per object."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.ops import batched_nms

from casvit_mm.engine.detections import Detections

Predict = Callable[[Sequence[np.ndarray]], list[Any]]


class Tile(NamedTuple):
    """A rectangle of a picture: columns ``x1`` to ``x2``, rows ``y1`` to ``y2``, end excluded."""

    x1: int
    y1: int
    x2: int
    y2: int


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along one side.

    The tiles are the fewest that cover the side, spread evenly: all are ``tile`` long (one alone
    is as long as the side, where that is shorter), and neighbours share at least ``overlap``.

    Args:
        length: Length of the side in pixels.
        tile: Length of a tile.
        overlap: What neighbours share at least; less than ``tile``.

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
    """Tiles that cover a picture, row by row; see :func:`starts`."""
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
    on_batch: Callable[[int], None] | None = None,
) -> Any:
    """Predicts tile by tile and puts the answers together.

    Args:
        predict: Gives the answer to each of several pictures.
        image: The picture. Shape: ``(H, W, C)``.
        tile: Side of a tile in pixels.
        overlap: Overlap of tiles in pixels; larger than the largest object that has to be found
            in one piece.
        combine: Makes one answer of those of the tiles: :func:`merge` for detections,
            :func:`casvit_mm.engine.label_map.stitch` for label maps.
        batch_size: Tiles per call of ``predict``.
        on_batch: Told how many tiles were just done.

    Returns:
        The answer for the whole picture.
    """
    height, width = image.shape[:2]
    windows = tiles(height, width, tile, overlap)
    found = []
    for first in range(0, len(windows), batch_size):
        batch = windows[first : first + batch_size]
        found += predict([image[w.y1 : w.y2, w.x1 : w.x2] for w in batch])
        if on_batch is not None:
            on_batch(len(batch))
    return combine(found, windows, height, width)


def merge(
    found: Sequence[Detections],
    windows: Sequence[Tile],
    height: int,
    width: int,
    *,
    iou_threshold: float = 0.5,
    cover_threshold: float = 0.6,
) -> Detections:
    """Merges what was found in overlapping tiles, so that an object is reported once.

    An object that lies whole in two tiles is found twice, with boxes that agree: non-maximum
    suppression by class keeps the better. One that a tile's edge cuts is found as a fragment
    there and whole in the neighbour; their boxes agree too little for that, so a fragment goes
    where a larger box of its class from another tile covers it.

    Args:
        found: Detections of each tile, in pixels of the tile.
        windows: The tiles.
        height: Height of the picture.
        width: Width of the picture.
        iou_threshold: Boxes of a class that overlap more are one object.
        cover_threshold: Share of a fragment that the larger box has to cover.

    Returns:
        The detections in pixels of the picture, best first.
    """
    parts = [d.moved(w.x1, w.y1) for d, w in zip(found, windows, strict=True)]
    merged = Detections.concatenate(parts)
    if not len(merged):
        return merged
    origin = np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])
    cut = np.concatenate(
        [
            _touches_inner_edge(part.boxes, window, height, width)
            for part, window in zip(parts, windows, strict=True)
        ]
    )
    whole = np.flatnonzero(~_covered_fragments(merged, origin, cut, cover_threshold))
    merged = merged.select(whole)
    _, kept = batched_nms(
        torch.from_numpy(merged.boxes),
        torch.from_numpy(merged.scores),
        torch.from_numpy(merged.labels),
        dict(type='nms', iou_threshold=iou_threshold),
    )
    return merged.select(kept.numpy())


def _touches_inner_edge(
    boxes: np.ndarray, window: Tile, height: int, width: int, margin: float = 2.0
) -> np.ndarray:
    """Which boxes end at an edge of their tile that is not the picture's."""
    return (
        ((boxes[:, 0] <= window.x1 + margin) & (window.x1 > 0))
        | ((boxes[:, 1] <= window.y1 + margin) & (window.y1 > 0))
        | ((boxes[:, 2] >= window.x2 - margin) & (window.x2 < width))
        | ((boxes[:, 3] >= window.y2 - margin) & (window.y2 < height))
    )


def _covered_fragments(
    detections: Detections, origin: np.ndarray, cut: np.ndarray, threshold: float
) -> np.ndarray:
    boxes, labels = detections.boxes, detections.labels
    sizes = boxes[:, 2:] - boxes[:, :2]
    areas = sizes[:, 0] * sizes[:, 1]
    covered = np.zeros(len(boxes), bool)
    for index in np.flatnonzero(cut):
        sides = np.minimum(boxes[index, 2:], boxes[:, 2:]) - np.maximum(
            boxes[index, :2], boxes[:, :2]
        )
        shared = np.clip(sides, 0, None).prod(1)
        covered[index] = np.any(
            (labels == labels[index])
            & (origin != origin[index])
            & (areas > areas[index])
            & (shared > threshold * areas[index])
        )
    return covered
