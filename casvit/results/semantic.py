"""The result of semantic segmentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from casvit.results.base import CategoryIds, Result
from casvit.results.masks import LocalMask


class Area(NamedTuple):
    """The pixels of an image that belong to one class.

    Attributes:
        class_id: Index of the class.
        name: Name of the class.
        pixels: Number of pixels.
        share: Share of the image, between 0 and 1.
    """

    class_id: int
    name: str
    pixels: int
    share: float


@dataclass(frozen=True, eq=False, repr=False)
class SemanticMap(Result):
    """The class of every pixel of an image.

    Iterating gives an :class:`Area` for each class that occurs, the largest first.

    Attributes:
        class_ids: Class index of every pixel. Shape: ``(H, W)``, uint8 or uint16.
    """

    class_ids: np.ndarray

    def __len__(self) -> int:
        return len(self._areas())

    def __iter__(self) -> Iterator[Area]:
        return iter(self._areas())

    def __repr__(self) -> str:
        return self._repr(', '.join(f'{area.name} {area.share:.0%}' for area in self))

    def _areas(self) -> list[Area]:
        values = np.iinfo(self.class_ids.dtype).max + 1
        # Row by row: NumPy counts on a copy with eight bytes per pixel.
        rows = (np.bincount(row, minlength=values) for row in self.class_ids)
        counts = sum(rows, np.zeros(values, np.int64))
        present = [int(index) for index in np.argsort(-counts, kind='stable') if counts[index]]
        pixels = self.class_ids.size
        return [
            Area(index, self.classes[index], int(counts[index]), int(counts[index]) / pixels)
            for index in present
        ]

    def to_records(self, file: str) -> list[dict[str, Any]]:
        """Records for JSON, one per class that occurs: file, label, index, pixels, share.

        Args:
            file: Name of the image.

        Returns:
            The records, the largest class first.
        """
        return [
            {
                'file': file,
                'label': area.name,
                'index': area.class_id,
                'pixels': area.pixels,
                'share': round(area.share, 5),
            }
            for area in self
        ]

    def to_coco(self, image_id: int = 0, category_ids: CategoryIds = None) -> list[dict[str, Any]]:
        """COCO stuff records, one per class that occurs.

        Args:
            image_id: As for :meth:`Detections.to_coco`, like ``category_ids``.

        Returns:
            ``{image_id, category_id, category_name, segmentation}`` with the RLE of each class,
            the largest class first.

        Raises:
            ResultError: ``category_ids`` lacks ids.
        """
        ids = self._category_ids(category_ids)
        return [
            {
                'image_id': image_id,
                'category_id': ids[area.class_id],
                'category_name': area.name,
                'segmentation': LocalMask.crop(self.class_ids == area.class_id).to_rle(
                    self.height, self.width
                ),
            }
            for area in self
        ]
