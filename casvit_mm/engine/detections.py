"""Detections of one picture, in a form that stays small for very large pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask


class LocalMask(NamedTuple):
    """The part of a mask that has anything in it, and where in the picture it lies.

    Attributes:
        x: Left column of the part.
        y: Top row of the part.
        bitmap: The part. Shape: ``(h, w)``, bool.
    """

    x: int
    y: int
    bitmap: np.ndarray

    @classmethod
    def crop(cls, bitmap: np.ndarray) -> 'LocalMask':
        """Cuts a mask down to what is set in it.

        Args:
            bitmap: A mask as large as the picture. Shape: ``(H, W)``, bool.
        """
        rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
        if not len(rows):
            return cls(0, 0, np.zeros((0, 0), bool))
        top, left = int(rows[0]), int(columns[0])
        return cls(left, top, bitmap[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    def to_rle(self, height: int, width: int) -> dict[str, Any]:
        """COCO's compressed run-length code of the mask in the whole picture.

        Args:
            height: Height of the picture.
            width: Width of the picture.

        Returns:
            ``{'size': [height, width], 'counts': str}``.
        """
        rows, columns = self.bitmap.shape
        slab = np.zeros((height, columns), bool)
        slab[self.y : self.y + rows] = self.bitmap
        # Runs go down the columns, so only those that the mask touches need to be looked at: what
        # lies left and right of them lengthens the first and the last run.
        flat = slab.ravel(order='F')
        edges = np.flatnonzero(np.diff(flat, prepend=False)) + self.x * height
        counts = np.diff(np.concatenate(([0], edges, [height * width])))
        if flat.size and flat[-1]:
            end = (self.x + columns) * height
            counts = np.append(counts[:-1], (end - edges[-1], height * width - end))
        rle = coco_mask.frPyObjects(
            {'size': [height, width], 'counts': counts.tolist()}, height, width
        )
        return {'size': [height, width], 'counts': rle['counts'].decode('ascii')}


@dataclass
class Detections:
    """What a detector found in one picture.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels. Shape: ``(N, 4)``, float32.
        scores: Shape: ``(N,)``, float32.
        labels: Indices of classes. Shape: ``(N,)``, int64.
        masks: One mask per box; None where the detector gives none.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    masks: list[LocalMask] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, indices: np.ndarray) -> 'Detections':
        """Those at the given indices, in that order."""
        masks = None if self.masks is None else [self.masks[index] for index in indices]
        return Detections(self.boxes[indices], self.scores[indices], self.labels[indices], masks)

    def moved(self, x: int, y: int) -> 'Detections':
        """The same, in a picture whose origin lies ``x`` and ``y`` pixels further up and left."""
        masks = None
        if self.masks is not None:
            masks = [LocalMask(mask.x + x, mask.y + y, mask.bitmap) for mask in self.masks]
        shift = np.array([x, y, x, y], np.float32)
        return Detections(self.boxes + shift, self.scores, self.labels, masks)

    @classmethod
    def concatenate(cls, parts: Sequence['Detections']) -> 'Detections':
        """All detections of several sets, one after the other."""
        if not parts:
            return cls()
        masks = None
        if all(part.masks is not None for part in parts):
            masks = [mask for part in parts for mask in part.masks]
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.labels for part in parts]),
            masks,
        )

    def to_records(
        self, file: str, classes: Sequence[str], height: int, width: int
    ) -> list[dict[str, Any]]:
        """Records for JSON: file, label, score, bbox (xyxy), and mask (RLE) where there is one.

        Args:
            file: Name of the picture.
            classes: Names of the classes.
            height: Height of the picture.
            width: Width of the picture.
        """
        records = []
        for index in range(len(self)):
            record = {
                'file': file,
                'label': classes[self.labels[index]],
                'score': round(float(self.scores[index]), 5),
                'bbox': [round(float(value), 2) for value in self.boxes[index]],
            }
            if self.masks is not None:
                record['mask'] = self.masks[index].to_rle(height, width)
            records.append(record)
        return records
