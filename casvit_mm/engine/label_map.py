"""The class of every pixel of one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from casvit_mm.engine.tiles import Tile


@dataclass(frozen=True)
class LabelMap:
    """What a segmentor answers.

    Attributes:
        labels: Index of a class for every pixel. Shape: ``(H, W)``, uint8 or uint16.
    """

    labels: np.ndarray

    def to_records(
        self, file: str, classes: Sequence[str], height: int, width: int
    ) -> list[dict[str, Any]]:
        """Records for JSON, one per class that occurs: file, label, index, pixels, share.

        Args:
            file: Name of the picture.
            classes: Names of the classes.
            height: Height of the picture.
            width: Width of the picture.

        Returns:
            The records, the largest class first.
        """
        counts = np.bincount(self.labels.ravel(), minlength=len(classes))
        present = [index for index in np.argsort(-counts, kind='stable') if counts[index]]
        return [
            {
                'file': file,
                'label': classes[index],
                'index': int(index),
                'pixels': int(counts[index]),
                'share': round(int(counts[index]) / (height * width), 5),
            }
            for index in present
        ]


def stitch(found: Sequence[LabelMap], windows: Sequence[Tile], height: int, width: int) -> LabelMap:
    """Puts the label maps of overlapping tiles together; an overlap is shared half and half.

    Args:
        found: The label map of each tile.
        windows: The tiles, a grid that covers the picture.
        height: Height of the picture.
        width: Width of the picture.

    Returns:
        The label map of the picture.
    """
    columns = _halves(sorted({(window.x1, window.x2) for window in windows}))
    rows = _halves(sorted({(window.y1, window.y2) for window in windows}))
    labels = np.zeros((height, width), found[0].labels.dtype)
    for part, window in zip(found, windows, strict=True):
        (left, right), (top, bottom) = columns[window.x1], rows[window.y1]
        labels[top:bottom, left:right] = part.labels[
            top - window.y1 : bottom - window.y1, left - window.x1 : right - window.x1
        ]
    return LabelMap(labels)


def _halves(spans: Sequence[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """The part of each of several overlapping spans that is its own, by where the span begins."""
    middles = [(end + begin) // 2 for (_, end), (begin, _) in pairwise(spans)]
    bounds = [spans[0][0], *middles, spans[-1][1]]
    return {begin: (bounds[i], bounds[i + 1]) for i, (begin, _) in enumerate(spans)}
