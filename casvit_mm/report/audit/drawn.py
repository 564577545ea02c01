"""Images of the report: read in little memory, drawn at the sizes at which they are shown."""

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from casvit.drawing.style import STYLE, Style
from casvit.drawing.text import label_ink, write
from casvit.files import is_file
from casvit_mm.datasets.decoding import decode
from casvit_mm.datasets.image_files import image_size

# Longer sides in pixels: on the page, and enlarged; small images are magnified for legible letters.
SMALL, LARGE, MAGNIFIED = 480, 1600, 960
# Bytes of an enlarged image, so that forty of them stay below 10 MB in Base64.
BYTES = 180_000
# Tried one after the other for enlarged images; the middle one is for small images.
QUALITIES = (82, 75, 65)
# On the page, images are shown smaller than they are.
SMALL_SCALE = 1.2
# Pixels that are decoded at most: above that only formats that decode a part of them are shown.
PIXELS = 2**27
# Share of the image that is added at most on each side to show boxes outside it.
BEYOND = 0.5
ERROR = (214, 16, 48)


@dataclass(frozen=True)
class View:
    """An image in at least the size at which it is shown, RGB, and its size as a run loads it."""

    pixels: np.ndarray
    width: int
    height: int


class Margins(NamedTuple):
    """Pixels that are added around an image."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


NO_MARGINS = Margins()


@dataclass(frozen=True)
class Frame:
    """An image in the size in which it is drawn, on a canvas with margins.

    Attributes:
        canvas: Image and margins. Shape: ``(h, w, 3)``, uint8 RGB.
        factor: Size of the image on the canvas, divided by its own size; in width and height.
        corner: Left column and top row of the image on the canvas.
        size: Width and height of the image on the canvas.
        scale: Factor of line widths and letters.
    """

    canvas: np.ndarray
    factor: tuple[float, float]
    corner: tuple[int, int]
    size: tuple[int, int]
    scale: float

    def places(self, points: np.ndarray) -> np.ndarray:
        """Moves points from the image to the canvas. Shapes: ``(…, 2)``."""
        with np.errstate(over='ignore'):
            return points * self.factor + self.corner


@dataclass(frozen=True)
class Highlight:
    """An object with an issue.

    Attributes:
        number: The number to write next to it; 0 for none.
        lines: Closed lines around it: its box, its polygons. Shapes: ``(N, 2)``.
    """

    number: int
    lines: list[np.ndarray]


Paint = Callable[[Frame], np.ndarray]


def read_view(path: Path) -> View | None:
    """Reads an image as a run loads it, rotated by EXIF; reduced if it is large.

    Returns:
        The image; None if it cannot be decoded, or only with too much memory.
    """
    # Reading a device or a pipe might never end.
    if not is_file(path):
        return None
    try:
        content = path.read_bytes()
        file = BytesIO(content)
        with Image.open(file) as opened:
            width, height = image_size(opened, file).upright
            partial = opened.format in ('JPEG', 'MPO')
    except Exception:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        return None
    reduced = next((by for by in (8, 4, 2) if max(width, height) >= by * LARGE), 1)
    if width * height > PIXELS * (reduced**2 if partial else 1):
        return None
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduced]
    pixels = decode(content, flag)
    if pixels is None:
        return None
    if reduced == 1:
        height, width = pixels.shape[:2]
    return View(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), width, height)


def margins_for(points: Iterable[np.ndarray], width: int, height: int) -> Margins:
    """The margins that an image needs to show points outside it, within limits.

    Args:
        points: Shapes: ``(N, 2)``.
        width: Width of the image.
        height: Height of the image.
    """
    corners = np.concatenate([np.array([[0, 0], [width, height]], float), *points])
    limit = np.array([width, height]) * BEYOND
    low = np.clip(-corners.min(0), 0, limit)
    high = np.clip(corners.max(0) - (width, height), 0, limit)
    # A little more, so that the lines are inside.
    spare = 0.02 * max(width, height)
    sides = [int(np.ceil(side + spare)) if side > 1 else 0 for side in (*low, *high)]
    return Margins(*sides)


def encoded(view: View, paint: Paint, margins: Margins = NO_MARGINS) -> tuple[str, str]:
    """Draws an image in the sizes of the page.

    Args:
        view: The image.
        paint: Draws on a frame.
        margins: Margins around the image.

    Returns:
        The small and the enlarged image, as data addresses.
    """
    longer = max(
        view.width + margins.left + margins.right, view.height + margins.top + margins.bottom
    )
    small = _jpeg(paint(_frame(view, margins, SMALL, SMALL_SCALE)), QUALITIES[1])
    side = min(LARGE, max(MAGNIFIED, longer))
    while True:
        canvas = paint(_frame(view, margins, side, 1))
        for quality in QUALITIES:
            large = _jpeg(canvas, quality)
            if len(large) <= BYTES or (side <= SMALL and quality == QUALITIES[-1]):
                return _address(small), _address(large)
        side = int(side * max(0.6, min(0.9, (BYTES / len(large)) ** 0.5)))


def highlight(
    frame: Frame, canvas: np.ndarray, objects: Iterable[Highlight], style: Style = STYLE
) -> None:
    """Draws dashed bold lines around objects with issues, and their numbers below them."""
    height, width = canvas.shape[:2]
    line, letters = style.sizes(height, width, scale=frame.scale)
    bold, room = max(2, round(1.5 * line)), 3 * max(2, line)
    edge = np.array(canvas.shape[1::-1]) - 1 - bold // 2
    for one in objects:
        for points in one.lines:
            placed = np.clip(np.nan_to_num(frame.places(points)), bold // 2, edge)
            low, high = placed.min(0), placed.max(0)
            if (high - low < room).any():
                # Too small to be seen, or beyond the margins.
                middle = (low + high) / 2
                low, high = np.minimum(low, middle - room), np.maximum(high, middle + room)
                placed = rectangle(*np.clip(low, bold // 2, edge), *np.clip(high, bold // 2, edge))
            _dashed(canvas, placed, bold)
        if one.number and one.lines:
            placed = np.clip(np.nan_to_num(frame.places(one.lines[0])), 0, edge)
            ink = label_ink(str(one.number), '', letters, canvas.shape[1])
            lowest = np.maximum(0, np.array(canvas.shape[1::-1]) - ink.shape[::-1])
            x, y = np.minimum((placed[:, 0].min(), placed[:, 1].max() + room), lowest)
            write(canvas, ink, int(x), int(y), np.array(ERROR, np.uint8))


def rectangle(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """The corners of a rectangle. Shape: ``(4, 2)``."""
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], float)


def _dashed(canvas: np.ndarray, points: np.ndarray, width: int) -> None:
    """Draws a closed line in red dashes on white."""
    closed = np.concatenate([points, points[:1]])
    cv2.polylines(
        canvas, [closed.round().astype(np.int32)], False, (255, 255, 255), width + 2, cv2.LINE_AA
    )
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    along = np.concatenate([[0], lengths.cumsum()])
    dash = 4 * width
    # Dash by dash along each side, so that the corners stay sharp.
    for start in np.arange(0, along[-1], 2 * dash):
        stops = np.unique([start, *along[(along > start) & (along < start + dash)], start + dash])
        part = np.stack([np.interp(stops, along, closed[:, axis]) for axis in (0, 1)], 1)
        cv2.polylines(canvas, [part.round().astype(np.int32)], False, ERROR, width, cv2.LINE_AA)


def _frame(view: View, margins: Margins, side: int, scale: float) -> Frame:
    """Resizes an image such that the longer side of the canvas has a length."""
    whole = (view.width + margins.left + margins.right, view.height + margins.top + margins.bottom)
    factor = side / max(whole)
    width, height = (max(1, round(length * factor)) for length in (view.width, view.height))
    left, top = round(margins.left * factor), round(margins.top * factor)
    smaller = width < view.pixels.shape[1]
    resized = cv2.resize(
        view.pixels, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    if any(margins):
        canvas = _hatched(
            max(top + height, round(whole[1] * factor)), max(left + width, round(whole[0] * factor))
        )
        canvas[top : top + height, left : left + width] = resized
    else:
        canvas = np.ascontiguousarray(resized)
    own = (width / view.width, height / view.height)
    return Frame(canvas, own, (left, top), (width, height), scale)


def _hatched(height: int, width: int) -> np.ndarray:
    """A canvas with diagonal stripes: not a part of the image."""
    rows, columns = np.ogrid[:height, :width]
    stripes = np.where((rows + columns) // 6 % 2, 190, 205).astype(np.uint8)
    return np.repeat(stripes[..., None], 3, axis=2)


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    _, content = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()


def _address(content: bytes) -> str:
    return f'data:image/jpeg;base64,{b64encode(content).decode()}'
