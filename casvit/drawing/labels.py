"""Places labels next to boxes: inside the image, and clear of each other."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from casvit.drawing.text import label_ink, write

Place = tuple[int, int]
# The smallest letters to which labels are reduced if there is no room for all of them.
SMALLEST = 10
# Share of the width of the image that a label may take, if its box is not wider.
WIDEST = 0.45


class Occupied:
    """The area that labels already cover, on a grid of cells.

    Args:
        height: Height of the image.
        width: Width of the image.
        cell: Side of a cell in pixels. Labels in the same cell count as overlapping.
    """

    def __init__(self, height: int, width: int, cell: int = 4) -> None:
        self.cell = cell
        self.grid = np.zeros((-(-height // cell), -(-width // cell)), bool)

    def area(self, place: Place, size: tuple[int, int]) -> np.ndarray:
        """The cells that a label would touch.

        Args:
            place: Left column and top row.
            size: Height and width.
        """
        (x, y), (height, width), cell = place, size, self.cell
        return self.grid[y // cell : -(-(y + height) // cell), x // cell : -(-(x + width) // cell)]


def place_labels(
    boxes: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    height: int,
    width: int,
    wishes: Callable[[Sequence[int], tuple[int, int]], Iterable[Place]] | None = None,
) -> list[Place | None]:
    """Finds a place for each label; the first ones choose first.

    Args:
        boxes: x1, y1, x2, y2 of each object in pixels. Shape: ``(N, 4)``, integers.
        sizes: Height and width of each label.
        height: Height of the image.
        width: Width of the image.
        wishes: The places near a box for a label of some size, the best first; by default above
            its left corner, then at its other corners and sides.

    Returns:
        Left column and top row of each label; None if there is no room near its box.
    """
    occupied = Occupied(height, width)
    places: list[Place | None] = []
    for box, size in zip(boxes.tolist(), sizes, strict=True):
        chosen = None
        for x, y in (wishes or _beside)(box, size):
            # A label that is larger than the image starts at its edge.
            place = max(0, min(x, width - size[1])), max(0, min(y, height - size[0]))
            area = occupied.area(place, size)
            if not area.any():
                area[:] = True
                chosen = place
                break
        places.append(chosen)
    return places


def centred(box: Sequence[int], size: tuple[int, int]) -> Iterator[Place]:
    """Places in the middle of a box, and above and below that."""
    x = (box[0] + box[2] - size[1]) // 2
    y = (box[1] + box[3] - size[0]) // 2
    for shift in (0, -1, 1, -2, 2):
        yield x, y + shift * (size[0] + 4)


def _beside(box: Sequence[int], size: tuple[int, int]) -> Iterator[Place]:
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
    names_only = [(name, '') for name, _ in texts]
    attempts = dict.fromkeys(((letters, True), (small, True), (small, False)))
    for size, scored in attempts:
        inks = [
            label_ink(name, score, size, min(width, max(round(WIDEST * width), int(x2 - x1))))
            for (name, score), (x1, _, x2, _) in zip(
                texts if scored else names_only, boxes, strict=True
            )
        ]
        places = place_labels(boxes, [ink.shape for ink in inks], height, width)
        if None not in places:
            break
    for ink, place, colour in zip(inks, places, colours, strict=True):
        if place is not None:
            write(canvas, ink, *place, colour)
    return np.array([index for index, place in enumerate(places) if place is None], int)
