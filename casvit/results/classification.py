"""The result of image classification."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from casvit.results.base import CategoryIds, Result

BEST = 5


class ClassScore(NamedTuple):
    """The score of one class.

    Attributes:
        class_id: Index of the class.
        name: Name of the class.
        score: Between 0 and 1.
    """

    class_id: int
    name: str
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Result):
    """The class scores of an image.

    Iterating gives a :class:`ClassScore` for each class, the best first.

    Attributes:
        scores: Scores of all classes, between 0 and 1. Shape: ``(C,)``, float32.
    """

    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[ClassScore]:
        return iter(self.top(len(self)))

    def __repr__(self) -> str:
        return self._repr(', '.join(f'{one.name} {one.score:.2f}' for one in self.top()))

    def top(self, k: int = BEST) -> list[ClassScore]:
        """The best classes, the best first."""
        best = np.argsort(-self.scores, kind='stable')[:k].tolist()
        return [ClassScore(index, self.classes[index], float(self.scores[index])) for index in best]

    def to_records(self, file: str) -> list[dict[str, Any]]:
        """Records for JSON, one for each of the best 5 classes: file, label, index, score.

        Args:
            file: Name of the image.
        """
        return [
            {
                'file': file,
                'label': one.name,
                'index': one.class_id,
                'score': round(one.score, 5),
            }
            for one in self.top()
        ]

    def to_coco(self, image_id: int = 0, category_ids: CategoryIds = None) -> list[dict[str, Any]]:
        """COCO-style records, one for each of the best 5 classes.

        Args:
            image_id: As for :meth:`Detections.to_coco`, like ``category_ids``.

        Returns:
            ``{image_id, category_id, category_name, score}``, the best first.

        Raises:
            ResultError: ``category_ids`` lacks ids.
        """
        ids = self._category_ids(category_ids)
        return [
            {
                'image_id': image_id,
                'category_id': ids[one.class_id],
                'category_name': one.name,
                'score': one.score,
            }
            for one in self.top()
        ]
