"""Objects in an image, predicted or annotated."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from casvit.errors import MissingPackageError
from casvit.extras import how_to_install
from casvit.results.base import CategoryIds, Result
from casvit.results.masks import LocalMask

# Size of all masks, in bytes, above which they are passed to supervision in its compact form.
COMPACT = 2**28


class Detection(NamedTuple):
    """One object.

    Attributes:
        box: x1, y1, x2, y2 in pixels. Shape: ``(4,)``, float32.
        score: Between 0 and 1.
        class_id: Index of its class.
        name: Name of its class.
        mask: Its segmentation mask; None if the model does not predict masks.
    """

    box: np.ndarray
    score: float
    class_id: int
    name: str
    mask: LocalMask | None


@dataclass(frozen=True, eq=False, repr=False)
class Detections(Result):
    """Objects in an image, predicted by a detector or annotated.

    Iterating gives a :class:`Detection` for each.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels. Shape: ``(N, 4)``, float32.
        scores: Between 0 and 1. Shape: ``(N,)``, float32.
        class_ids: Indices of classes. Shape: ``(N,)``, int64.
        masks: Segmentation mask of each object, cropped to its region; None if the model does not
            predict masks. :attr:`dense_masks` has them in the size of the image.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    class_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    masks: Sequence[LocalMask] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Detection]:
        masks = [None] * len(self) if self.masks is None else self.masks
        columns = (self.boxes, self.scores.tolist(), self.class_ids.tolist(), self.names, masks)
        return map(Detection._make, zip(*columns, strict=True))

    def __repr__(self) -> str:
        counts = Counter(self.names).most_common()
        return self._repr(', '.join(f'{count} {name}' for name, count in counts))

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.classes[index] for index in self.class_ids.tolist()]

    @property
    def dense_masks(self) -> np.ndarray | None:
        """The masks in the size of the image. Shape: ``(N, H, W)``, bool; None without masks."""
        if self.masks is None:
            return None
        dense = np.zeros((len(self), self.height, self.width), bool)
        for canvas, mask in zip(dense, self.masks, strict=True):
            mask.put(canvas)
        return dense

    def select(self, indices: np.ndarray) -> 'Detections':
        """The detections at the given indices, in that order, or those marked by a bool array."""
        indices = np.asarray(indices)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        indices = indices.astype(int)
        return replace(
            self,
            boxes=self.boxes[indices],
            scores=self.scores[indices],
            class_ids=self.class_ids[indices],
            masks=None if self.masks is None else [self.masks[index] for index in indices],
        )

    def moved(self, x: int, y: int, height: int, width: int) -> 'Detections':
        """The same detections in a larger image that contains this one.

        Args:
            x: Left column of this image in the larger one.
            y: Top row of this image in the larger one.
            height: Height of the larger image.
            width: Width of the larger image.
        """
        masks = None
        if self.masks is not None:
            masks = [LocalMask(mask.x + x, mask.y + y, mask.bitmap) for mask in self.masks]
        boxes = self.boxes + np.array([x, y, x, y], np.float32)
        return replace(self, boxes=boxes, masks=masks, height=height, width=width, image=None)

    @staticmethod
    def concatenate(parts: Sequence['Detections']) -> 'Detections':
        """Joins several sets of detections in the same image."""
        masks = None
        if all(part.masks is not None for part in parts):
            masks = [mask for part in parts for mask in part.masks or ()]
        return replace(
            parts[0],
            boxes=np.concatenate([part.boxes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            class_ids=np.concatenate([part.class_ids for part in parts]),
            masks=masks,
        )

    def to_records(self, file: str) -> list[dict[str, Any]]:
        """Records for JSON: file, label, score, bbox (xyxy), and mask (RLE) if there is one.

        Args:
            file: Name of the image.
        """
        records = []
        for one in self:
            record = {
                'file': file,
                'label': one.name,
                'score': round(one.score, 5),
                'bbox': [round(float(value), 2) for value in one.box],
            }
            if one.mask is not None:
                record['mask'] = one.mask.to_rle(self.height, self.width)
            records.append(record)
        return records

    def to_coco(self, image_id: int = 0, category_ids: CategoryIds = None) -> list[dict[str, Any]]:
        """Records for the COCO evaluation, with class names next to the category ids.

        Args:
            image_id: Id of the image in the annotation file.
            category_ids: The category id of each class, in the order of ``classes`` or by name.
                By default 1, 2, 3 …, as in datasets written by this package; the 80 classes of
                COCO itself have other ids.

        Returns:
            ``{image_id, category_id, category_name, bbox: [x, y, width, height], score}``, and
            ``segmentation`` (RLE) if there are masks.

        Raises:
            ResultError: ``category_ids`` lacks ids.
        """
        ids = self._category_ids(category_ids)
        records = []
        for one in self:
            x1, y1, x2, y2 = one.box.tolist()
            record = {
                'image_id': image_id,
                'category_id': ids[one.class_id],
                'category_name': one.name,
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'score': one.score,
            }
            if one.mask is not None:
                record['segmentation'] = one.mask.to_rle(self.height, self.width)
            records.append(record)
        return records

    def to_supervision(self) -> Any:
        """Converts to ``supervision.Detections``, with ``class_name`` in its data.

        Masks that would need much memory get supervision's compact form (``CompactMask``).

        Raises:
            MissingPackageError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingPackageError(
                'to_supervision() needs supervision, which is not installed: '
                f'{how_to_install("supervision")}.'
            ) from error
        masks: Any = None
        if self.masks is not None and len(self) * self.height * self.width <= COMPACT:
            masks = self.dense_masks
        elif self.masks is not None:
            shape = (self.height, self.width)
            # Their boxes include the last column and row.
            areas = [
                (m.x, m.y, m.x + m.bitmap.shape[1] - 1, m.y + m.bitmap.shape[0] - 1)
                for m in self.masks
            ]
            masks = supervision.CompactMask.from_coco_rle(
                [mask.to_rle(*shape) for mask in self.masks],
                np.array(areas, np.float32).reshape(-1, 4),
                shape,
            )
        return supervision.Detections(
            xyxy=self.boxes,
            mask=masks,
            confidence=self.scores,
            class_id=self.class_ids,
            data={'class_name': np.array(self.names, dtype=str)},
        )


def inside_image(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts boxes off at the edges of the image, and leaves out those that lie outside.

    A network that sees a padded image may find objects in the padding.

    Args:
        boxes: x1, y1, x2, y2 in pixels. Shape: ``(N, 4)``.
        height: Height of the image.
        width: Width of the image.

    Returns:
        The boxes, float32, ``(K, 4)``, and their places among those given, ``(K,)``.
    """
    limits = np.array([width, height, width, height], np.float32)
    clipped = np.clip(boxes.astype(np.float32), 0, limits)
    outside = (boxes[:, :2] >= limits[:2]).any(1) | (boxes[:, 2:] <= 0).any(1)
    places = np.flatnonzero(~outside)
    return clipped[places], places
