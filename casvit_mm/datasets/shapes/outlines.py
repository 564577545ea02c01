"""Outlines of the shapes in the generated datasets.

A contour is an array of corners around the origin, at any scale. Shape: ``(N, 2)``.
"""

import numpy as np

# A shape is a tuple of contours; an area inside an even number of them is a hole.
Outlines = dict[str, tuple[np.ndarray, ...]]


def _circle(radius: float = 1.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _polygon(*radii: float) -> np.ndarray:
    """Corners at equal angles, with their distances from the centre in ``radii``."""
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]


def _cross() -> np.ndarray:
    arm = 0.36
    quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    turns = [np.array([[0, 1], [-1, 0]]), np.array([[-1, 0], [0, -1]]), np.array([[0, -1], [1, 0]])]
    return np.concatenate([quarter, *(quarter @ turn for turn in turns)])


def _half() -> np.ndarray:
    angles = np.linspace(0, np.pi, 33)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _box(width: float, height: float) -> np.ndarray:
    return np.array([[-width, -height], [width, -height], [width, height], [-width, height]])


def _arrow() -> np.ndarray:
    upper = np.array([[-1.0, 0.22], [0.1, 0.22], [0.1, 0.65], [1.0, 0.0]])
    return np.concatenate([upper, upper[-2::-1] * [1, -1]])


def _heart() -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    height = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return np.stack([np.sin(turn) ** 3, height / 16], axis=1)


OUTLINES: Outlines = {
    'circle': (_circle(),),
    'square': (_polygon(1, 1, 1, 1),),
    'triangle': (_polygon(1, 1, 1),),
    'star': (_polygon(*(1.0, 0.45) * 5),),
    'cross': (_cross(),),
    'ring': (_circle(), _circle(0.52)),
}
# Other classes, for fine-tuning a model that was trained on the first ones.
OTHER_OUTLINES: Outlines = {
    'half': (_half(),),
    'bar': (_box(1.0, 0.3),),
    'arrow': (_arrow(),),
    'frame': (_polygon(1, 1, 1, 1), _polygon(0.55, 0.55, 0.55, 0.55)),
    'heart': (_heart(),),
    'gear': (_polygon(*(1.0, 1.0, 0.7, 0.7) * 8),),
}
