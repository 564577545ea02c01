"""Text on a coloured background."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from casvit.drawing.fonts import font_for
from casvit.drawing.palette import ink_on
from casvit.names import printable

ELLIPSIS = '…'


def label_ink(name: str, score: str, size: int, width: int) -> np.ndarray:
    """The letters of a label, shortened if it is too wide.

    Args:
        name: A name of any length, in any script.
        score: Written after the name, and never shortened; may be empty.
        size: Height of letters in pixels.
        width: Largest width in pixels. At least one letter is kept.

    Returns:
        Coverage of each pixel by letters. Shape: ``(h, w)``, uint8, 0 to 255.
    """
    return _label_ink(name, score, size, max(1, width))


@lru_cache(maxsize=4096)
def _label_ink(name: str, score: str, size: int, width: int) -> np.ndarray:
    name, tail = printable(name), f' {score}' if score else ''
    ink = _letters(name + tail, size)
    if ink.shape[1] <= width:
        return ink
    low, high = 1, len(name)
    while low < high:
        middle = (low + high + 1) // 2
        if _letters(_shortened(name, middle) + tail, size).shape[1] <= width:
            low = middle
        else:
            high = middle - 1
    return _letters(_shortened(name, low) + tail, size)


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else name[:length].rstrip() + ELLIPSIS


@lru_cache(maxsize=4096)
def _letters(text: str, size: int) -> np.ndarray:
    font, text = font_for(text, size)
    above, below = font.getmetrics()
    margin = max(2, size // 5)
    left, _, right, _ = font.getbbox(text)
    label = Image.new('L', (int(right - left) + 2 * margin, above + below))
    ImageDraw.Draw(label).text((margin - left, 0), text, 255, font=font)
    return np.asarray(label)


def write(canvas: np.ndarray, ink: np.ndarray, x: int, y: int, colour: np.ndarray) -> None:
    """Writes letters on a coloured background, within the canvas.

    Args:
        canvas: Changed in place. Shape: ``(H, W, 3)``, uint8 RGB.
        ink: Coverage by letters. Shape: ``(h, w)``, uint8.
        x: Left column.
        y: Top row.
        colour: The background; letters are black or white, whichever is easier to read on it.
    """
    left, top = max(0, x), max(0, y)
    part = canvas[top : y + ink.shape[0], left : x + ink.shape[1]]
    shown = ink[top - y :, left - x :][: part.shape[0], : part.shape[1], None].astype(np.uint16)
    part[:] = (colour * (255 - shown) + ink_on(colour) * shown) // 255
