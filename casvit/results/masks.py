"""Masks cropped to the region that they cover, so that they stay small in large images."""

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask


class LocalMask(NamedTuple):
    """A mask cropped to the region that it covers, and its position in the image.

    Attributes:
        x: Left column of the region.
        y: Top row of the region.
        bitmap: The mask in the region. Shape: ``(h, w)``, bool.
    """

    x: int
    y: int
    bitmap: np.ndarray

    @classmethod
    def crop(cls, bitmap: np.ndarray) -> 'LocalMask':
        """Crops a mask to the region that it covers.

        Args:
            bitmap: A mask in the size of the image. Shape: ``(H, W)``, bool.
        """
        rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
        if not len(rows):
            return cls(0, 0, np.zeros((0, 0), bool))
        top, left = int(rows[0]), int(columns[0])
        return cls(left, top, bitmap[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    def dense(self, height: int, width: int) -> np.ndarray:
        """The mask in the size of the image.

        Args:
            height: Height of the image.
            width: Width of the image.

        Returns:
            Shape: ``(height, width)``, bool.
        """
        dense = np.zeros((height, width), bool)
        self.put(dense)
        return dense

    def put(self, dense: np.ndarray) -> None:
        """Writes the region into a mask in the size of the image.

        Args:
            dense: Changed in place. Shape: ``(H, W)``, bool.
        """
        rows, columns = self.bitmap.shape
        dense[self.y : self.y + rows, self.x : self.x + columns] = self.bitmap

    def to_rle(self, height: int, width: int) -> dict[str, Any]:
        """Encodes the mask in the size of the image as COCO's compressed RLE.

        Args:
            height: Height of the image.
            width: Width of the image.

        Returns:
            ``{'size': [height, width], 'counts': str}``.
        """
        rows, columns = self.bitmap.shape
        slab = np.zeros((height, columns), bool)
        slab[self.y : self.y + rows] = self.bitmap
        # Runs go down the columns, so only the columns that the mask covers are needed: the columns
        # to their left and right lengthen the first and the last run.
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
