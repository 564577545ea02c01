"""Places labels next to boxes: inside the image, and clear of each other."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from casvit.drawing.text import label_ink, write

Place = tuple[int, int]
Size = tuple[int, ...]
# The smallest letters to which labels are reduced if there is no room for all of them.
SMALLEST = 10
# Share of the labels that may lack room before all are reduced.
FEW = 0.05
# Share of the width of the image that a label may take, if its box is not wider.
WIDEST = 0.45


class Label(NamedTuple):
    """The letters of a label, and its left column and top row."""

    ink: np.ndarray
    place: Place


class Room:
    """The room for labels in an image, on a grid of cells.

    Args:
        height: Height of the image.
        width: Width of the image.
        cell: Side of a cell in pixels. Labels never share a cell.
    """

    def __init__(self, height: int, width: int, cell: int = 4) -> None:
        self.height, self.width, self.cell = height, width, cell
        self.taken = np.zeros((-(-height // cell), -(-width // cell)), bool)

    def take(self, size: Size, wishes: Iterable[Place]) -> Place | None:
        """Takes the first place that is free.

        Args:
            size: Height and width of the label.
            wishes: Left column and top row of places, the best first. They are moved into the
                image; a label that is larger than the image starts at its edge.

        Returns:
            The place; None if there is none.
        """
        (height, width), cell = size, self.cell
        for x, y in wishes:
            x = max(0, min(x, self.width - width))
            y = max(0, min(y, self.height - height))
            rows = slice(y // cell, -(-(y + height) // cell))
            area = self.taken[rows, x // cell : -(-(x + width) // cell)]
            if not area.any():
                area[:] = True
                return x, y
        return None


def around(x: int, y: int, size: Size) -> Iterator[Place]:
    """Places for a label around a point, and above and below that."""
    height, width = size
    for shift in (0, -1, 1, -2, 2):
        yield x - width // 2, y - height // 2 + shift * (height + 4)


def beside(box: Sequence[int], size: Size) -> Iterator[Place]:
    """Places for a label at the corners and sides of a box, the best first."""
    x1, y1, x2, y2 = box
    height, width = size
    left, right = x1, x2 - width
    yield left, y1 - height
    yield left, y1
    yield left, y2
    yield right, y1 - height
    yield right, y2
    yield right, y1
    yield left, y2 - height
    yield right, y2 - height
    yield x2, y1
    yield x1 - width, y1
    yield x2, y2 - height
    yield x1 - width, y2 - height
    for share in (0.5, 0.25, 0.75):
        x, y = round(left + share * (right - left)), round(y1 + share * (y2 - height - y1))
        yield x, y1 - height
        yield x, y1
        yield x, y2
        yield left, y
        yield right, y
        yield x, y
    yield left, y1 - 2 * height
    yield left, y2 + height


def write_labels(
    canvas: np.ndarray,
    boxes: np.ndarray,
    texts: Sequence[tuple[str, str]],
    colours: np.ndarray,
    letters: int,
    *,
    fixed: bool = False,
) -> np.ndarray:
    """Writes the labels of objects, in smaller letters and without scores if room is short.

    Args:
        canvas: Changed in place. Shape: ``(H, W, 3)``, uint8 RGB.
        boxes: x1, y1, x2, y2 of each object, the most important first. Shape: ``(N, 4)``, integers.
        texts: Name and score of each; scores may be empty.
        colours: Colour of each. Shape: ``(N, 3)``, uint8 RGB.
        letters: Height of letters in pixels.
        fixed: Whether the height of letters must stay as it is.

    Returns:
        Indices of the objects without a label, for which there is no room.
    """
    height, width = canvas.shape[:2]
    small = letters if fixed else max(min(letters, SMALLEST), round(0.75 * letters))
    sides = boxes.tolist()
    widest = [min(width, max(round(WIDEST * width), x2 - x1)) for x1, _, x2, _ in sides]

    def attempt(index: int, size: int, scored: bool, room: Room) -> Label | None:
        name, score = texts[index]
        ink = label_ink(name, score if scored else '', size, widest[index])
        place = room.take(ink.shape, beside(sides[index], ink.shape))
        return None if place is None else Label(ink, place)

    attempts = [(letters, True), (small, True), (small, False)]
    for size, scored in attempts:
        room = Room(height, width)
        labels = [attempt(index, size, scored, room) for index in range(len(sides))]
        if labels.count(None) <= FEW * len(labels):
            break
    unlabelled = []
    for index, label in enumerate(labels):
        # Few others have no room: only their own labels are reduced.
        for size, scored in attempts[1:]:
            label = label or attempt(index, size, scored, room)
        if label is None:
            unlabelled.append(index)
        else:
            write(canvas, label.ink, *label.place, colours[index])
    return np.array(unlabelled, int)
