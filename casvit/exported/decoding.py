"""Decodes the raw outputs of single-stage detectors with NumPy, for formats that cannot."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

DELTAS, DISTANCES = 'deltas', 'distances'
KINDS = {DELTAS: 4, DISTANCES: 2}
"""Kinds of box values, and how many numbers a prior of each has: an anchor's corners, a point."""
LARGEST_CHANGE = abs(math.log(16 / 1000))
"""Limits how much a box may grow or shrink against its anchor, as in mmdet's box coder."""
BLOCK = 256
"""Boxes that are compared with each other at a time."""


def decode(
    logits: np.ndarray, values: np.ndarray, size: tuple[int, int], raw: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects that a detector found, as mmdet's dense heads predict them.

    Args:
        logits: Of each class at each place, level by level. Shape: ``(N, classes)``, float.
        values: Of the box at each place: deltas of an anchor, or distances from a point in pixels.
            Shape: ``(N, 4)``, float.
        size: Height and width of the network's input.
        raw: How they become objects; see :func:`problem_of`.

    Returns:
        Boxes ``(K, 4)`` in pixels of the input, scores ``(K,)``, both float32, and labels
        ``(K,)``, int64; by falling score.

    Source: mmdet's ``BaseDenseHead._predict_by_feat_single`` and ``_bbox_post_process``.
    """
    height, width = size
    scores, labels, chosen, priors = _candidates(logits, size, raw)
    boxes = np.asarray(values[chosen], np.float32)
    boxes = _from_deltas(priors, boxes, raw) if raw['kind'] == DELTAS else _around(priors, boxes)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    if raw['min_bbox_size'] >= 0:
        kept = (boxes[:, 2:] - boxes[:, :2] > raw['min_bbox_size']).all(1)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    moved = boxes
    if not raw['class_agnostic']:
        # Moves classes apart in float32, which rounds overlaps as in the network's own decoding.
        moved = boxes + (labels * (height + width)).astype(np.float32)[:, None]
    kept = suppress(moved, scores, raw['iou_threshold'], raw['max_per_img'])
    return boxes[kept], scores[kept], labels[kept]


def rows_of(size: tuple[int, int], raw: Mapping[str, Any]) -> int:
    """How many places a network predicts at.

    Args:
        size: Height and width of its input.
        raw: How its outputs become objects.
    """
    return sum(
        rows * columns * len(priors)
        for (rows, columns), priors in zip(_grids(size, raw), raw['priors'], strict=True)
    )


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float, most: int = 0) -> np.ndarray:
    """Non-maximum suppression, as ``torchvision.ops.nms`` does it.

    Args:
        boxes: x1, y1, x2, y2. Shape: ``(N, 4)``, float32.
        scores: Shape: ``(N,)``.
        threshold: A box goes if its intersection over union with a better one is above this.
        most: Largest number of boxes to keep; 0 or less for all.

    Returns:
        Places of the boxes that are kept, by falling score. Shape: ``(K,)``, int64.
    """
    order = np.argsort(-scores, kind='stable')
    boxes = boxes[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # torchvision compares in float64, NumPy in float32: no float32 lies between these two numbers.
    limit = np.float32(threshold)
    if float(limit) > threshold:
        limit = np.nextafter(limit, np.float32(-1))
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        free = ~(_overlaps(boxes, areas, block, kept) > limit).any(1)
        block = block[free]
        overlapping = _overlaps(boxes, areas, block, block) > limit
        alive = np.ones(len(block), bool)
        for place in np.flatnonzero(np.triu(overlapping, 1).any(1)):
            if alive[place]:
                alive[place + 1 :] &= ~overlapping[place, place + 1 :]
        kept = np.concatenate([kept, block[alive]])
        if 0 < most <= len(kept):
            kept = kept[:most]
            break
    return order[kept]


def problem_of(raw: Any) -> str:
    """What is wrong with a description of how raw outputs become objects; empty if nothing is.

    Args:
        raw: Has to be a mapping of ``kind``, a key of :data:`KINDS`; ``means`` and ``stds`` of
            deltas, 4 numbers each; ``strides`` of each level, x and y in pixels; ``priors`` of each
            level, those of its first place, in pixels; ``divisor``, to a multiple of which the
            input is padded; and ``nms_pre``, ``score_thr``, ``iou_threshold``, ``class_agnostic``,
            ``max_per_img`` and ``min_bbox_size`` as in mmdet's test config, with 0 for numbers that
            are not limited, and -1 for a size that is not.
    """
    if not isinstance(raw, Mapping) or raw.get('kind') not in tuple(KINDS):
        return f'its decoding is none of {", ".join(KINDS)}'
    strides, priors = raw.get('strides'), raw.get('priors')
    if not isinstance(strides, Sequence) or not isinstance(priors, Sequence):
        return 'its decoding has no strides or priors'
    if not 0 < len(strides) == len(priors) <= 16:
        return 'its decoding has not one stride for each level'
    for stride in strides:
        if not _are_numbers(stride, 2, 1, 1024) or not all(type(each) is int for each in stride):
            return 'its decoding has invalid strides'
    length = KINDS[raw['kind']]
    for level in priors:
        if not isinstance(level, Sequence) or not 0 < len(level) <= 64:
            return 'its decoding has invalid priors'
        if not all(_are_numbers(prior, length, -(2**15), 2**15) for prior in level):
            return 'its decoding has invalid priors'
    if raw['kind'] == DELTAS and not all(
        _are_numbers(raw.get(name), 4, -100, 100) for name in ('means', 'stds')
    ):
        return 'its decoding has invalid means or stds'
    limits = dict(divisor=(1, 1024), nms_pre=(0, 2**31), max_per_img=(0, 2**31))
    for name, (least, most) in limits.items():
        if type(raw.get(name)) is not int or not least <= raw[name] <= most:
            return f'its decoding has an invalid {name}'
    for name, most in dict(score_thr=1, iou_threshold=1, min_bbox_size=2**15).items():
        if not _are_numbers([raw.get(name)], 1, -1, most):
            return f'its decoding has an invalid {name}'
    if type(raw.get('class_agnostic')) is not bool:
        return 'its decoding has an invalid class_agnostic'
    return ''


def _are_numbers(values: Any, count: int, least: float, most: float) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) == count
        and all(type(each) in (int, float) and least <= each <= most for each in values)
    )


def _grids(size: tuple[int, int], raw: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Rows and columns of each level."""
    height, width = (math.ceil(side / raw['divisor']) * raw['divisor'] for side in size)
    for x, y in raw['strides']:
        yield math.ceil(height / y), math.ceil(width / x)


def _candidates(
    logits: np.ndarray, size: tuple[int, int], raw: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels, rows and priors of the best candidates of each level."""
    threshold, most = raw['score_thr'], raw['nms_pre']
    # Most logits are far below the threshold: only the others become scores.
    lowest = math.log(threshold / (1 - threshold)) - 1e-2 if 0 < threshold < 1 else -math.inf
    found, first = [], 0
    for (rows, columns), stride, priors in zip(
        _grids(size, raw), raw['strides'], raw['priors'], strict=True
    ):
        count = rows * columns * len(priors)
        level = logits[first : first + count].reshape(-1)
        places = np.flatnonzero(level > lowest)
        chosen = np.asarray(level[places], np.float32)
        if 0 < most < len(places):
            # Back into the order of places, which decides between equal scores below.
            best = np.sort(np.argpartition(-chosen, most - 1)[:most])
            places, chosen = places[best], chosen[best]
        order = np.argsort(-chosen, kind='stable')
        places, scores = places[order], _sigmoid(chosen[order])
        kept = scores > threshold
        places, scores = places[kept], scores[kept]
        found.append(
            (
                scores,
                places % logits.shape[1],
                first + places // logits.shape[1],
                _priors(places // logits.shape[1], columns, stride, priors),
            )
        )
        first += count
    scores, labels, chosen, priors = (np.concatenate(each) for each in zip(*found, strict=True))
    return scores, labels.astype(np.int64), chosen, priors


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over='ignore'):
        return 1 / (1 + np.exp(-logits))


def _priors(
    rows: np.ndarray, columns: int, stride: Sequence[int], priors: Sequence[Sequence[float]]
) -> np.ndarray:
    """The anchors or points that rows of a level belong to. Shape: ``(K, 4)`` or ``(K, 2)``."""
    cells, which = np.divmod(rows, len(priors))
    base = np.asarray(priors, np.float32)
    shifts = np.stack([cells % columns * stride[0], cells // columns * stride[1]], 1)
    return base[which] + np.tile(shifts, base.shape[1] // 2).astype(np.float32)


def _from_deltas(anchors: np.ndarray, deltas: np.ndarray, raw: Mapping[str, Any]) -> np.ndarray:
    """Moves and scales anchors, like mmdet's ``DeltaXYWHBBoxCoder``. Shape: ``(K, 4)``."""
    deltas = deltas * np.asarray(raw['stds'], np.float32) + np.asarray(raw['means'], np.float32)
    centres = (anchors[:, :2] + anchors[:, 2:]) * np.float32(0.5)
    sizes = anchors[:, 2:] - anchors[:, :2]
    centres = centres + sizes * deltas[:, :2]
    sizes = sizes * np.exp(deltas[:, 2:].clip(-LARGEST_CHANGE, LARGEST_CHANGE))
    half = sizes * np.float32(0.5)
    return np.concatenate([centres - half, centres + half], 1)


def _around(points: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Boxes around points, like mmdet's ``DistancePointBBoxCoder``. Shape: ``(K, 4)``."""
    return np.concatenate([points - distances[:, :2], points + distances[:, 2:]], 1)


def _overlaps(
    boxes: np.ndarray, areas: np.ndarray, some: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Intersections over unions, in torchvision's order of operations. Shape: ``(M, N)``."""
    left, right = boxes[some][:, None], boxes[others]
    widths = np.minimum(left[..., 2], right[:, 2]) - np.maximum(left[..., 0], right[:, 0])
    heights = np.minimum(left[..., 3], right[:, 3]) - np.maximum(left[..., 1], right[:, 1])
    shared = np.maximum(widths, 0) * np.maximum(heights, 0)
    with np.errstate(invalid='ignore'):
        return shared / (areas[some][:, None] + areas[others] - shared)
