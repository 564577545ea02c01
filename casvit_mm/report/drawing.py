"""Draws answers on a picture; quick enough for videos, and for pictures of any size."""

from collections.abc import Sequence

import cv2
import numpy as np

from casvit.names import printable
from casvit_mm.engine.detections import Detections, LocalMask
from casvit_mm.engine.label_map import LabelMap

NAMED_SHARE = 0.005
Colour = tuple[int, int, int]


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    scored: bool = True,
) -> np.ndarray:
    """Draws masks, boxes, class names and scores.

    Args:
        image: The BGR picture. Shape: ``(H, W, 3)``, uint8.
        detections: What was found in it.
        classes: Names of the classes.
        palette: RGB colour of each class.
        scored: Whether to write the scores; annotations have none.

    Returns:
        A new BGR picture.
    """
    canvas = image.copy()
    # Lines and letters grow with the picture, so that they are seen when it is shown as a whole.
    scale = max(image.shape[:2]) / 1000
    thickness = max(1, round(2 * scale))
    # The best last, on top.
    for index in np.argsort(detections.scores):
        red, green, blue = palette[detections.labels[index]]
        colour = (int(blue), int(green), int(red))
        if detections.masks is not None:
            _blend(canvas, detections.masks[index], colour, thickness)
        x1, y1, x2, y2 = (round(float(value)) for value in detections.boxes[index])
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness)
        text = classes[detections.labels[index]]
        if scored:
            text += f' {detections.scores[index]:.2f}'
        _write(canvas, text, x1, y1, colour, max(0.35, 0.5 * scale))
    return canvas


def draw_label_map(
    image: np.ndarray, label_map: LabelMap, classes: Sequence[str], palette: Sequence[Colour]
) -> np.ndarray:
    """Colours every pixel by its class, and names each class where it is widest.

    Args:
        image: The BGR picture. Shape: ``(H, W, 3)``, uint8.
        label_map: The class of every pixel. Shape: ``(H, W)``.
        classes: Names of the classes.
        palette: RGB colour of each class.

    Returns:
        A new BGR picture.
    """
    colours = np.array(palette, np.uint8)[:, ::-1]
    canvas = cv2.addWeighted(image, 0.5, colours[label_map.labels], 0.5, 0)
    scale = max(image.shape[:2]) / 1000
    for index in np.unique(label_map.labels):
        where = (label_map.labels == index).astype(np.uint8)
        if where.mean() < NAMED_SHARE:
            continue
        # With a frame around it, so that the edge of the picture is an edge of the class as well.
        depth = cv2.distanceTransform(np.pad(where, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        colour = tuple(int(value) for value in colours[index])
        _write(canvas, classes[index], int(x), int(y), colour, max(0.35, 0.5 * scale))
    return canvas


def _blend(canvas: np.ndarray, mask: LocalMask, colour: Colour, thickness: int) -> None:
    height, width = mask.bitmap.shape
    if not height:
        return
    part = canvas[mask.y : mask.y + height, mask.x : mask.x + width]
    part[mask.bitmap] = (part[mask.bitmap] * 0.55 + np.array(colour) * 0.45).astype(np.uint8)
    outlines, _ = cv2.findContours(
        mask.bitmap.astype(np.uint8),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_SIMPLE,
        offset=(mask.x, mask.y),
    )
    cv2.drawContours(canvas, outlines, -1, colour, max(1, thickness // 2), cv2.LINE_AA)


def _write(canvas: np.ndarray, text: str, x: int, y: int, colour: Colour, scale: float) -> None:
    text = printable(text)
    thickness = max(1, round(2 * scale))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    x = max(0, min(x, canvas.shape[1] - width))
    y = max(y, height + base)
    cv2.rectangle(canvas, (x, y - height - base), (x + width, y), colour, cv2.FILLED)
    bright = sum(colour) > 380
    ink = (0, 0, 0) if bright else (255, 255, 255)
    place = (x, y - base // 2 - 1)
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)
