"""Masks as the part of an image that has anything in it, so that they stay small in large ones."""

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask


class LocalMask(NamedTuple):
    """The part of a mask that has anything in it, and where in the image it lies.

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
            bitmap: A mask as large as the image. Shape: ``(H, W)``, bool.
        """
        rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
        if not len(rows):
            return cls(0, 0, np.zeros((0, 0), bool))
        top, left = int(rows[0]), int(columns[0])
        return cls(left, top, bitmap[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    def dense(self, height: int, width: int) -> np.ndarray:
        """The mask in the whole image.

        Args:
            height: Height of the image.
            width: Width of the image.

        Returns:
            Shape: ``(height, width)``, bool.
        """
        whole = np.zeros((height, width), bool)
        self.put(whole)
        return whole

    def put(self, whole: np.ndarray) -> None:
        """Writes the part into a mask as large as the image.

        Args:
            whole: Changed in place. Shape: ``(H, W)``, bool.
        """
        rows, columns = self.bitmap.shape
        whole[self.y : self.y + rows, self.x : self.x + columns] = self.bitmap

    def to_rle(self, height: int, width: int) -> dict[str, Any]:
        """COCO's compressed run-length encoding of the mask in the whole image.

        Args:
            height: Height of the image.
            width: Width of the image.

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
