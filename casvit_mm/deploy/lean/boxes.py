"""Steps that detectors share between their layers' outputs and their boxes."""

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

from casvit.exported.decoding import LARGEST_CHANGE

BESIDE = [[-2.0, -2.0, -1.0, -1.0], [-4.0, -4.0, -3.0, -3.0]]
"""Boxes outside any image, which overlap with nothing."""


def as_rows(values: Tensor, length: int) -> Tensor:
    """The values of each anchor in a row. Shape: ``(1, A * length, H, W) -> (H * W * A, length)``.

    The batch is a single image.
    """
    return values[0].permute(1, 2, 0).reshape(-1, length)


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest scores, at most ``count``, and their places.

    Args:
        scores: Shape: ``(N,)``.
        count: Largest number.
    """
    if torch.jit.is_tracing():
        # A trace is for one size of images, and so for one number of scores.
        return scores.topk(min(count, int(scores.shape[0])))
    return scores.topk(torch.sym_min(count, scores.shape[0]))


def places_where(condition: Tensor) -> Tensor:
    """The places at which a condition holds. Shape: ``(N,) -> (K,)``."""
    return condition.nonzero()[:, 0]


def boxes_from_deltas(anchors: Tensor, deltas: Tensor, coder: Any) -> Tensor:
    """Moves and scales anchors, like mmdet's ``DeltaXYWHBBoxCoder``, without clipping.

    Args:
        anchors: Shape: ``(N, 4)``, x1, y1, x2, y2 in pixels.
        deltas: Shape: ``(N, 4)``.
        coder: Gives their means and standard deviations.

    Returns:
        Shape: ``(N, 4)``.
    """
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    centres = (anchors[:, :2] + anchors[:, 2:]) * 0.5
    sizes = anchors[:, 2:] - anchors[:, :2]
    centres = centres + sizes * deltas[:, :2]
    sizes = sizes * deltas[:, 2:].clamp(min=-LARGEST_CHANGE, max=LARGEST_CHANGE).exp()
    return torch.cat([centres - sizes * 0.5, centres + sizes * 0.5], -1)


def boxes_from_distances(points: Tensor, distances: Tensor) -> Tensor:
    """Boxes around points, like mmdet's ``DistancePointBBoxCoder``, without clipping.

    Args:
        points: Shape: ``(N, 2)``, x and y in pixels.
        distances: Left, top, right and bottom. Shape: ``(N, 4)``.

    Returns:
        Shape: ``(N, 4)``.
    """
    return torch.cat([points - distances[:, :2], points + distances[:, 2:]], -1)


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes cut off at the edges of the image. Shape: ``(N, 4) -> (N, 4)``."""
    x, y = boxes[:, 0::2].clamp(min=0, max=width), boxes[:, 1::2].clamp(min=0, max=height)
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], -1)


def large_enough(boxes: Tensor, least: float) -> Tensor:
    """The places of boxes whose sides are longer than ``least`` pixels. Shape: ``(K,)``."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return places_where((sizes > least).all(1))


def suppressed(
    boxes: Tensor, scores: Tensor, groups: Tensor, extent: int, cfg: Any, count: int
) -> Tensor:
    """Non-maximum suppression among the boxes of each group.

    Args:
        boxes: Shape: ``(N, 4)``, within the image.
        scores: Shape: ``(N,)``.
        groups: Shape: ``(N,)``, int64: classes or levels.
        extent: Larger than any coordinate: moves the groups apart.
        cfg: The ``nms`` of a test config: ``iou_threshold``, ``class_agnostic``.
        count: Largest number of boxes to keep; 0 or less for all.

    Returns:
        Places of the boxes that are kept, by falling score. Shape: ``(K,)``.
    """
    if not cfg.get('class_agnostic', False):
        boxes = boxes + (groups * extent).to(boxes.dtype)[:, None]
    # torchvision tells torch.export that at least two boxes are kept, and what is compiled from it
    # fails on fewer: two beside the image are.
    inside = boxes.shape[0]
    boxes = torch.cat([boxes, boxes.new_tensor(BESIDE)])
    scores = torch.cat([scores, scores.new_full((len(BESIDE),), -1)])
    kept = nms(boxes, scores, float(cfg.get('iou_threshold', cfg.get('iou_thr', 0.5))))
    # A slice would do, but OpenVINO takes its length for negative if nothing is known to be kept.
    kept = kept[places_where(kept < inside)]
    return kept[:count] if count > 0 else kept
