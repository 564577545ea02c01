"""Compares what two runtimes answer for the same input of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A score this close to the threshold may fall on either side of it.
AROUND = 1e-4
APART = 4.0
"""Boxes whose sides are farther apart than this are two objects, not one, in pixels: if each of two
overlapping boxes is suppressed by the other in one of the runtimes, they differ by about ten."""
UNLIKE = 40.0
"""So are objects that differ by more than this: in pixels, and 1,000 times the score."""


@dataclass(frozen=True)
class Difference:
    """The largest differences between the outputs of two runtimes for the same input.

    Attributes:
        boxes: Of box coordinates, in pixels of the input.
        scores: Of scores or probabilities.
        masks: Of mask probabilities or logits, as a share of the largest value.
        values: Of the logits of a segmentor, as a share of the largest value.
        unmatched: Objects that only one of the two has.
        objects: Objects that were compared.
    """

    boxes: float = 0.0
    scores: float = 0.0
    masks: float = 0.0
    values: float = 0.0
    unmatched: int = 0
    objects: int = 0

    def __str__(self) -> str:
        parts = []
        if self.objects:
            parts.append(f'boxes by {self.boxes:.1e} px')
        if self.objects or self.scores:
            parts.append(f'scores by {self.scores:.1e}')
        if self.masks:
            parts.append(f'masks by {self.masks:.1e}')
        if self.values:
            parts.append(f'logits by {self.values:.1e} of the largest')
        if self.unmatched:
            parts.append(f'{self.unmatched} objects found by only one of the two')
        return ', '.join(parts) or 'no difference'


@dataclass(frozen=True)
class Tolerance:
    """How large each :class:`Difference` may be.

    Attributes:
        unmatched: Share of the objects that only one of the two may have.
    """

    boxes: float
    scores: float
    masks: float
    values: float
    unmatched: float = 0.0

    def allows(self, difference: Difference) -> bool:
        """Whether a difference is within it; NaN is not."""
        within = (
            getattr(difference, name) <= getattr(self, name)
            for name in ('boxes', 'scores', 'masks', 'values')
        )
        objects = difference.objects + difference.unmatched
        return all(within) and difference.unmatched <= self.unmatched * objects


TOLERANCES = {
    'fp32': Tolerance(boxes=1e-2, scores=1e-4, masks=1e-3, values=1e-4),
    # Which of two overlapping boxes is suppressed may hang on the last digit of fp16.
    'fp16': Tolerance(boxes=APART, scores=3e-2, masks=6e-2, values=2e-2, unmatched=0.05),
}
"""By the precision of the exported file."""


def difference(
    task: str,
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    score_threshold: float = 0.0,
    most: int = 0,
) -> Difference:
    """Compares the outputs of two runtimes.

    Args:
        task: The task of the model.
        expected: The outputs of one, as :data:`casvit.exported.description.OUTPUTS` names them.
        found: Those of the other.
        score_threshold: Objects below this score are left out. An object close to it may be
            missing in one of the two.
        most: The largest number of objects that the network gives; 0 if there is none. If both have
            that many, others may have taken the places of those that are close to the last one.
    """
    if task == 'classification':
        return Difference(scores=_largest(expected[0] - found[0]))
    if task == 'semantic':
        if expected[0].shape != found[0].shape:
            return Difference(values=np.inf)
        scale = _largest(expected[0]) or 1.0
        return Difference(values=_largest(expected[0] - found[0]) / scale)
    left, right = (_above(each, score_threshold) for each in (expected, found))
    pairs = _pairs(left, right)
    cut = score_threshold
    if most and len(left[1]) == len(right[1]) == most:
        cut = max(cut, float(left[1].min()), float(right[1].min()))
    missing = [
        scores[index] - cut > AROUND
        for scores, count, side in ((left[1], len(left[1]), 0), (right[1], len(right[1]), 1))
        for index in set(range(count)) - {pair[side] for pair in pairs}
    ]
    if not pairs:
        return Difference(unmatched=sum(missing))
    first, second = map(list, zip(*pairs, strict=True))
    masks = 0.0
    if len(left) > 3:
        scale = _largest(left[3][first]) or 1.0
        masks = _largest(left[3][first] - right[3][second]) / scale
    boxes = [left[place][first] - right[place][second] for place in (0, 4) if len(left) > place]
    return Difference(
        boxes=_largest(np.concatenate(boxes)),
        scores=_largest(left[1][first] - right[1][second]),
        masks=masks,
        unmatched=sum(missing),
        objects=len(pairs),
    )


def _largest(values: np.ndarray) -> float:
    """The largest absolute value; NaN if there is one."""
    return float(np.abs(values.astype(np.float64)).max()) if values.size else 0.0


def _above(outputs: Sequence[np.ndarray], threshold: float) -> list[np.ndarray]:
    kept = outputs[1] >= threshold
    return [each[kept] for each in outputs]


def _pairs(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """One-to-one pairs of objects of the same class with the closest boxes and scores."""
    if not len(left[0]) or not len(right[0]):
        return []
    apart = np.abs(left[0][:, None] - right[0]).max(2)
    distances = apart + 1e3 * np.abs(left[1][:, None] - right[1])
    distances[(left[2][:, None] != right[2]) | (apart > APART)] = np.inf
    order = np.argsort(distances, axis=None, kind='stable')
    free_left, free_right = np.ones(len(left[0]), bool), np.ones(len(right[0]), bool)
    pairs = []
    for index in order.tolist():
        row, column = divmod(index, distances.shape[1])
        if not distances[row, column] <= UNLIKE:
            break
        if free_left[row] and free_right[column]:
            free_left[row] = free_right[column] = False
            pairs.append((row, column))
    return pairs
