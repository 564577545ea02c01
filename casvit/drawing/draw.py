"""Draws results on images: fast enough for videos, and for images of any size.

Only the regions that a mask, a box or a label covers are changed, in NumPy; Pillow draws the text.
Images are uint8 RGB.
"""

from functools import lru_cache, singledispatch
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from casvit.drawing.fonts import font_for
from casvit.names import printable
from casvit.results import Classification, Detections, LocalMask, SemanticMap, default_palette
from casvit.results.classification import BEST

# Classes that cover at least this share of the image get a label on a semantic map.
NAMED_SHARE = 0.005
# Longer side of the grid on which the widest place of a class is searched.
GRID = 96
STRIP = 2**20


@singledispatch
def draw(result: Any, image: np.ndarray) -> np.ndarray:
    """Draws a result on its image.

    Args:
        result: Detections, a semantic map or a classification.
        image: Shape: ``(H, W, 3)``, uint8 RGB.

    Returns:
        A new image.
    """
    raise TypeError(f'{type(result).__name__} is not a result that can be drawn')


@draw.register
def draw_detections(
    result: Detections, image: np.ndarray, *, scored: bool = True, scale: float = 1
) -> np.ndarray:
    """Draws masks, boxes, class names and scores, with the highest scores on top.

    Args:
        result: The detections.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        scored: Whether to write the scores; annotations have none.
        scale: Factor of line widths and letters; above 1 for images that are shown smaller.

    Returns:
        A new image.
    """
    canvas = image.copy()
    colours = _colours(result)
    line, letters = drawn_sizes(canvas, scale)
    # Clipped far outside the image, so that huge coordinates fit into an integer.
    edge = 2 * max(canvas.shape)
    boxes = np.nan_to_num(result.boxes.astype(float)).clip(-edge, edge).round().astype(int)
    order = np.argsort(result.scores, kind='stable')
    for index in order:
        colour = colours[result.class_ids[index]]
        if result.masks is not None:
            _blend(canvas, result.masks[index], colour, max(1, line // 2))
        _rectangle(canvas, boxes[index], colour, line)
    # After all masks, which would tint them.
    for index, name in zip(order, np.array(result.names)[order], strict=True):
        text = f'{name} {result.scores[index]:.2f}' if scored else name
        colour = colours[result.class_ids[index]]
        write_label(canvas, text, boxes[index][0], boxes[index][1], colour, letters)
    return canvas


@draw.register
def draw_semantic_map(result: SemanticMap, image: np.ndarray, *, scale: float = 1) -> np.ndarray:
    """Colours every pixel by its class, and labels each class where it is widest.

    Args:
        result: The class of every pixel.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        scale: Factor of letters; above 1 for images that are shown smaller.

    Returns:
        A new image.
    """
    colours = _colours(result)
    canvas = np.empty_like(image)
    rows = max(1, STRIP // image.shape[1])
    for top in range(0, len(image), rows):
        strip = slice(top, top + rows)
        mixed = colours[result.class_ids[strip]].astype(np.uint16) + image[strip]
        canvas[strip] = mixed >> 1
    _, letters = drawn_sizes(canvas, scale)
    wide = [area for area in result if area.share >= NAMED_SHARE]
    for area, (x, y) in zip(wide, _widest_places(result, [a.class_id for a in wide]), strict=True):
        write_label(canvas, area.name, x, y, colours[area.class_id], letters, centred=True)
    return canvas


@draw.register
def draw_classification(
    result: Classification, image: np.ndarray, *, best: int = BEST
) -> np.ndarray:
    """Writes the best classes and their scores into the upper left corner.

    Args:
        result: The score of every class.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        best: How many classes to write.

    Returns:
        A new image.
    """
    canvas = image.copy()
    colours = _colours(result)
    _, letters = drawn_sizes(canvas)
    bottom = 0
    for one in result.top(best):
        text = f'{one.name} {one.score:.2f}'
        bottom += len(_letters(printable(text), letters))
        write_label(canvas, text, 0, bottom, colours[one.class_id], letters)
    return canvas


def _colours(result: Detections | SemanticMap | Classification) -> np.ndarray:
    own = list(result.palette)
    palette = own + default_palette(len(result.classes))[len(own) :]
    return np.array(palette, np.uint8).reshape(-1, 3)


def drawn_sizes(canvas: np.ndarray, scale: float = 1) -> tuple[int, int]:
    """Line width and letter height, visible when the whole image is shown; times ``scale``."""
    scale *= max(canvas.shape[:2]) / 1000
    return max(1, round(2 * scale)), max(10, round(16 * scale))


def _blend(canvas: np.ndarray, mask: LocalMask, colour: np.ndarray, line: int) -> None:
    """Draws a translucent mask with a contour over its region of a canvas."""
    height, width = mask.bitmap.shape
    part = canvas[mask.y : mask.y + height, mask.x : mask.x + width]
    mixed = (np.arange(256)[:, None] * 11 + colour.astype(int) * 9) // 20
    # A lookup table per channel takes a tenth of the time of indexing the pixels.
    for channel, table in enumerate(mixed.astype(np.uint8).T):
        np.copyto(part[..., channel], table[part[..., channel]], where=mask.bitmap)
    part[mask.bitmap & ~_eroded(mask.bitmap, line)] = colour


def _eroded(bitmap: np.ndarray, depth: int) -> np.ndarray:
    """The pixels that are more than ``depth`` pixels inside a mask, along rows and columns."""
    inside = np.pad(bitmap, depth)
    for axis in (0, 1):
        inside = np.moveaxis(inside, axis, 0)
        reach, wanted = 1, 2 * depth + 1
        while reach < wanted:
            step = min(reach, wanted - reach)
            inside = inside[:-step] & inside[step:]
            reach += step
        inside = np.moveaxis(inside, 0, axis)
    return inside


def _rectangle(canvas: np.ndarray, box: np.ndarray, colour: np.ndarray, line: int) -> None:
    height, width = canvas.shape[:2]
    before = line // 2
    x1, y1, x2, y2 = (int(value) - before for value in box)
    columns = slice(max(0, x1), min(width, max(0, x2 + line)))
    rows = slice(max(0, y1), min(height, max(0, y2 + line)))
    for y in (y1, y2):
        canvas[max(0, y) : max(0, y + line), columns] = colour
    for x in (x1, x2):
        canvas[rows, max(0, x) : max(0, x + line)] = colour


def write_label(
    canvas: np.ndarray,
    text: str,
    x: int,
    y: int,
    colour: np.ndarray,
    size: int,
    *,
    centred: bool = False,
) -> None:
    """Writes a text on a coloured background: above and to the right of a point, or around it."""
    ink = _letters(printable(text), size)
    height, width = ink.shape
    if centred:
        x, y = x - width // 2, y + height // 2
    left = max(0, min(int(x), canvas.shape[1] - width))
    bottom = min(max(int(y), height), max(height, canvas.shape[0]))
    part = canvas[bottom - height : bottom, left : left + width]
    share = ink[: part.shape[0], : part.shape[1], None].astype(np.uint16)
    letters = 0 if int(colour.sum()) > 380 else 255
    part[:] = (colour * (255 - share) + letters * share) // 255


@lru_cache(maxsize=128)
def _letters(text: str, size: int) -> np.ndarray:
    """Coverage of each pixel of a label by letters. Shape: ``(h, w)``, uint8, 0 to 255."""
    font, text = font_for(text, size)
    above, below = font.getmetrics()
    margin = max(1, size // 8)
    left, _, right, _ = font.getbbox(text)
    label = Image.new('L', (int(right - left) + 2 * margin, above + below))
    ImageDraw.Draw(label).text((margin - left, 0), text, 255, font=font)
    return np.asarray(label)


def _widest_places(result: SemanticMap, class_ids: list[int]) -> list[tuple[int, int]]:
    """A pixel (x, y) of each class that is far from other classes, found on a coarse grid."""
    step = max(1, -(-max(result.class_ids.shape) // GRID))
    grid = result.class_ids[step // 2 :: step, step // 2 :: step]
    if not grid.size:
        grid, step = result.class_ids, 1
    # The edge of the image counts as a class boundary.
    framed = np.pad(grid.astype(np.int32), 1, constant_values=-1)
    around = [(y, x) for y in range(3) for x in range(3)]
    height, width = grid.shape
    inside = np.all([framed[y : y + height, x : x + width] == grid for y, x in around], axis=0)
    depth = np.zeros(grid.shape, np.int32)
    while inside.any():
        depth += inside
        framed = np.pad(inside, 1)
        inside = np.all([framed[y : y + height, x : x + width] for y, x in around], axis=0)
    places = []
    for class_id in class_ids:
        deep = np.where(grid == class_id, depth, -1)
        if (deepest := deep.max()) >= 0:
            # The middle one of several with the same distance.
            equal = np.flatnonzero(deep == deepest)
            y, x = divmod(int(equal[len(equal) // 2]), width)
            places.append((x * step + step // 2, y * step + step // 2))
        else:
            y, x = divmod(int((result.class_ids == class_id).argmax()), result.width)
            places.append((x, y))
    return places
