"""Draws results on images of any size, fast enough for videos.

NumPy changes the regions that a mask, a box or a label covers, and Pillow draws the letters, so
that drawing needs no package beyond the base installation and looks the same everywhere. Images
are uint8 RGB.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from casvit.drawing.labels import WIDEST, Room, around, write_labels
from casvit.drawing.palette import colours_of
from casvit.drawing.places import widest_places
from casvit.drawing.shapes import blend_classes, blend_mask, draw_box
from casvit.drawing.style import STYLE, Style
from casvit.drawing.text import label_ink, write
from casvit.results import Classification, Detections, SemanticMap
from casvit.results.classification import BEST

# Classes that cover at least this share of the image get a label on a semantic map.
NAMED_SHARE = 0.005
# Width of the contour of a mask, as a share of the width of a box.
CONTOUR = 0.75


class Drawn(NamedTuple):
    """Objects drawn on an image.

    Attributes:
        canvas: Shape: ``(H, W, 3)``, uint8 RGB.
        unlabelled: Indices of the objects without room for their labels.
    """

    canvas: np.ndarray
    unlabelled: np.ndarray


@singledispatch
def draw(result: Any, image: np.ndarray, *, style: Style = STYLE) -> np.ndarray:
    """Draws a result on its image.

    Args:
        result: Detections, a semantic map or a classification.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.

    Returns:
        A new image of the same size.
    """
    raise TypeError(f'{type(result).__name__} is not a result that can be drawn')


@draw.register
def draw_detections(
    result: Detections,
    image: np.ndarray,
    *,
    style: Style = STYLE,
    scored: bool = True,
    scale: float = 1,
) -> np.ndarray:
    """Draws masks, boxes, class names and scores, with the highest scores on top.

    Args:
        result: The detections.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.
        scored: Whether to write the scores; annotations have none.
        scale: Factor of line widths and letters; above 1 for images that are shown smaller.

    Returns:
        A new image of the same size.
    """
    return draw_objects(result, image, style=style, scored=scored, scale=scale).canvas


def draw_objects(
    result: Detections,
    image: np.ndarray,
    *,
    style: Style = STYLE,
    scored: bool = True,
    scale: float = 1,
) -> Drawn:
    """Like :func:`draw_detections`, and says which objects have no label."""
    canvas = image.copy()
    height, width = canvas.shape[:2]
    line, letters = style.sizes(height, width, result.tile, scale)
    colours = colours_of(result.palette, len(result.classes))[result.class_ids]
    # Clipped far outside the image, so that huge coordinates fit into an integer.
    edge = 2 * max(height, width)
    boxes = np.nan_to_num(result.boxes.astype(float)).clip(-edge, edge).round().astype(int)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    # Of equal scores, which annotations have, small objects come last.
    order = np.lexsort((-areas, result.scores))
    if result.masks is not None:
        contour = max(1, round(CONTOUR * line))
        for index in order:
            blend_mask(canvas, result.masks[index], colours[index], contour)
    if style.boxes:
        for index in order:
            draw_box(canvas, boxes[index], colours[index], line)
    if not style.labels:
        return Drawn(canvas, order[:0])
    best = order[::-1]
    names, before = result.names, line // 2
    texts = [(names[i], f'{result.scores[i]:.2f}' if scored else '') for i in best.tolist()]
    framed = boxes[best] + (-before, -before, line - before, line - before)
    unlabelled = write_labels(
        canvas, framed, texts, colours[best], letters, fixed=style.font_size is not None
    )
    return Drawn(canvas, best[unlabelled])


@draw.register
def draw_semantic_map(
    result: SemanticMap, image: np.ndarray, *, style: Style = STYLE, scale: float = 1
) -> np.ndarray:
    """Colours every pixel by its class, and labels each class where it is widest.

    Args:
        result: The class of every pixel.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.
        scale: Factor of letters; above 1 for images that are shown smaller.

    Returns:
        A new image of the same size.
    """
    colours = colours_of(result.palette, len(result.classes))
    canvas = blend_classes(image, result.class_ids, colours)
    if not style.labels:
        return canvas
    height, width = canvas.shape[:2]
    _, letters = style.sizes(height, width, result.tile, scale)
    wide = [area for area in result if area.share >= NAMED_SHARE]
    points = widest_places(result, [area.class_id for area in wide])
    room = Room(height, width)
    for area, point in zip(wide, points, strict=True):
        ink = label_ink(area.name, '', letters, round(WIDEST * width))
        if place := room.take(ink.shape, around(*point, ink.shape)):
            write(canvas, ink, *place, colours[area.class_id])
    return canvas


@draw.register
def draw_classification(
    result: Classification, image: np.ndarray, *, style: Style = STYLE, best: int = BEST
) -> np.ndarray:
    """Writes the best classes and their scores into the upper left corner.

    Args:
        result: The score of every class.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.
        best: How many classes to write.

    Returns:
        A new image of the same size.
    """
    canvas = image.copy()
    if not style.labels:
        return canvas
    colours = colours_of(result.palette, len(result.classes))
    height, width = canvas.shape[:2]
    _, letters = style.sizes(height, width)
    top = 0
    for one in result.top(best):
        ink = label_ink(one.name, f'{one.score:.2f}', letters, width)
        write(canvas, ink, 0, top, colours[one.class_id])
        top += ink.shape[0]
    return canvas
