"""Paints one image of the generated dataset: a textured background with shapes on it.

All random numbers come from the generator that is passed in, in a fixed order, so an image depends
only on its random stream and its size. Shapes are drawn at four times the resolution and averaged
down; a pixel belongs to a shape if the shape covers at least half of it.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from casvit_mm.datasets.shapes.outlines import OUTLINES, Outlines

SMALLEST_SIDE = 64
SMALL = (0.1, 0.19)
LARGE = (0.21, 0.46)
ALONE = (0.7, 0.95)
SMALL_SHARE = 0.42
OVERLAP_SHARE = 0.32
MAX_OBJECTS = 6
MIN_VISIBLE = 0.6
MIN_PIXELS = 10
CONTRAST = 105.0

_SUPERSAMPLING = 4
_SUBPIXEL_BITS = 4
_ATTEMPTS = 30


@dataclass(frozen=True)
class Instance:
    """One object in an image.

    Attributes:
        label: Its class index, in the order of the outlines.
        mask: Its visible pixels. Shape: ``(size, size)``, bool.
        visible: The share of its area that is not covered.
    """

    label: int
    mask: np.ndarray
    visible: float


@dataclass(frozen=True)
class Scene:
    """An image with its objects.

    Attributes:
        image: Shape: ``(size, size, 3)``, uint8, in BGR order.
        instances: Its objects, from back to front.
    """

    image: np.ndarray
    instances: list[Instance]


@dataclass
class _Shape:
    """A placed outline: the crop of the image that it touches, and its coverage of each pixel."""

    label: int
    top: int
    left: int
    cover: np.ndarray
    colour: np.ndarray

    @property
    def region(self) -> tuple[slice, slice]:
        height, width = self.cover.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def mask(self) -> np.ndarray:
        return self.cover >= 0.5


def paint(
    rng: Generator, size: int, *, empty: bool = False, outlines: Outlines | None = None
) -> Scene:
    """Paints an image.

    Args:
        rng: The image's random stream.
        size: Side of the image in pixels, at least :data:`SMALLEST_SIDE`.
        empty: Whether to paint only the background.
        outlines: The shapes to choose from. Defaults to
            :data:`~casvit_mm.datasets.shapes.outlines.OUTLINES`.

    Returns:
        The image and its objects.
    """
    canvas = _background(rng, size)
    owner = np.full((size, size), -1, np.int16)
    shapes: list[_Shape] = []
    for _ in range(0 if empty else int(rng.integers(1, MAX_OBJECTS + 1))):
        shape = _place(rng, outlines or OUTLINES, shapes, owner, size)
        if shape is None:
            continue
        _choose_colour(rng, shape, canvas)
        _draw(rng, shape, canvas)
        owner[shape.region][shape.mask] = len(shapes)
        shapes.append(shape)
    instances = []
    for index, shape in enumerate(shapes):
        mask = owner == index
        visible = np.count_nonzero(mask) / np.count_nonzero(shape.mask)
        instances.append(Instance(shape.label, mask, visible))
    return Scene(_photograph(rng, canvas), instances)


def paint_one(rng: Generator, size: int, label: int) -> np.ndarray:
    """Paints an image with one shape that fills most of it.

    Args:
        rng: The image's random stream.
        size: Side of the image in pixels, at least :data:`SMALLEST_SIDE`.
        label: Index of the shape in the order of :data:`OUTLINES`.

    Returns:
        The image. Shape: ``(size, size, 3)``, uint8, in BGR order.
    """
    canvas = _background(rng, size)
    outline = list(OUTLINES.values())[label]
    contours = _outline(outline, rng.uniform(*ALONE) * size, rng.uniform(0, 2 * np.pi))
    shape = _put(label, contours, _anywhere(rng, contours, size))
    _choose_colour(rng, shape, canvas)
    _draw(rng, shape, canvas)
    return _photograph(rng, canvas)


def _place(
    rng: Generator, outlines: Outlines, shapes: list[_Shape], owner: np.ndarray, size: int
) -> _Shape | None:
    """Places one more shape, either partly over an earlier one or apart from all of them.

    Returns:
        The shape, not yet coloured; None if the image has no room for it.
    """
    label = int(rng.integers(len(outlines)))
    low, high = SMALL if rng.random() < SMALL_SHARE else LARGE
    side = max(rng.uniform(low, high) * size, MIN_PIXELS + 1)
    contours = _outline(list(outlines.values())[label], side, rng.uniform(0, 2 * np.pi))
    overlapping = bool(shapes) and rng.random() < OVERLAP_SHARE
    for wanted in (True, False) if overlapping else (False,):
        for _ in range(_ATTEMPTS):
            if wanted:
                target = shapes[int(rng.integers(len(shapes)))]
                centre = _near(rng, contours, target, size)
                if centre is None:
                    continue
                shape = _put(label, contours, centre)
                if _covers_some(shape, shapes, owner):
                    return shape
            else:
                shape = _put(label, contours, _anywhere(rng, contours, size))
                if _is_free(shape, owner):
                    return shape
    return None


def _outline(outline: tuple[np.ndarray, ...], side: float, angle: float) -> list[np.ndarray]:
    """Contours of a shape whose longer side is ``side`` pixels, around the origin."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    contours = [contour @ turn for contour in outline]
    low, high = contours[0].min(axis=0), contours[0].max(axis=0)
    return [(contour - (low + high) / 2) * (side / (high - low).max()) for contour in contours]


def _anywhere(rng: Generator, contours: list[np.ndarray], size: int) -> np.ndarray:
    """A random centre for an outline inside the image."""
    reach = contours[0].max(axis=0)
    return rng.uniform(reach + 1, size - 1 - reach)


def _near(
    rng: Generator, contours: list[np.ndarray], target: _Shape, size: int
) -> np.ndarray | None:
    """A random centre for an outline near a shape; None if it would not fit in the image."""
    reach = contours[0].max(axis=0)
    height, width = target.cover.shape
    radius = (reach.mean() + (height + width) / 4) * rng.uniform(0.35, 0.85)
    angle = rng.uniform(0, 2 * np.pi)
    middle = np.array([target.left + width / 2, target.top + height / 2])
    centre = middle + radius * np.array([np.cos(angle), np.sin(angle)])
    fits = (centre >= reach + 1).all() and (centre <= size - 1 - reach).all()
    return centre if fits else None


def _put(label: int, contours: list[np.ndarray], centre: np.ndarray) -> _Shape:
    """Puts an outline at a place; it has no colour yet."""
    reach = contours[0].max(axis=0)
    corner = np.floor(centre - reach).astype(int)
    extent = np.ceil(centre + reach).astype(int) - corner
    cover = _cover([contour + centre - corner for contour in contours], extent)
    return _Shape(label, int(corner[1]), int(corner[0]), cover, np.zeros(3, np.float32))


def _cover(contours: list[np.ndarray], extent: np.ndarray) -> np.ndarray:
    """The share of each pixel that lies inside the contours. Shape: ``(height, width)``."""
    width, height = (int(value) for value in extent)
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), np.uint8)
    scale = _SUPERSAMPLING * 2**_SUBPIXEL_BITS
    # OpenCV measures from the centre of a pixel, contours from its corner.
    half = 2 ** (_SUBPIXEL_BITS - 1)
    corners = [np.round(contour * scale - half).astype(np.int32) for contour in contours]
    cv2.fillPoly(fine, corners, (255,), lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    coarse = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return coarse.astype(np.float32) / 255


def _is_free(shape: _Shape, owner: np.ndarray) -> bool:
    """Whether nothing lies within two pixels of the shape's box."""
    height, width = shape.cover.shape
    top, left = max(shape.top - 2, 0), max(shape.left - 2, 0)
    return bool((owner[top : shape.top + height + 2, left : shape.left + width + 2] < 0).all())


def _covers_some(shape: _Shape, shapes: list[_Shape], owner: np.ndarray) -> bool:
    """Whether a shape overlaps another one enough, and leaves enough of each visible."""
    mask = shape.mask
    covered = np.bincount(owner[shape.region][mask] + 1, minlength=len(shapes) + 1)[1:]
    area = np.count_nonzero(mask)
    overlap = 0.0
    for index in np.flatnonzero(covered):
        behind = shapes[index]
        full = np.count_nonzero(behind.mask)
        rest = owner[behind.region] == index
        top, left = shape.top - behind.top, shape.left - behind.left
        rows, columns = np.nonzero(mask)
        rows, columns = rows + top, columns + left
        inside = (rows >= 0) & (rows < rest.shape[0]) & (columns >= 0) & (columns < rest.shape[1])
        rest[rows[inside], columns[inside]] = False
        if np.count_nonzero(rest) < MIN_VISIBLE * full:
            return False
        seen = max(np.ptp(axis) + 1 for axis in np.nonzero(rest))
        if seen < MIN_PIXELS:
            return False
        overlap = max(overlap, covered[index] / min(area, full))
    return overlap >= 0.08


def _choose_colour(rng: Generator, shape: _Shape, canvas: np.ndarray) -> None:
    """Gives a shape a colour that stands out from the pixels behind it."""
    behind = canvas[shape.region]
    # Nine colours behind the shape: one that differs from their mean may equal one of them.
    seen = cv2.resize(behind, (3, 3), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    best = -1.0
    for _ in range(12):
        colour = _colour(rng, saturation=(0.35, 1.0), value=(0.3, 1.0))
        distance = float(np.linalg.norm(seen - colour, axis=1).min())
        if distance > best:
            best, shape.colour = distance, colour
        if best >= CONTRAST:
            return


def _draw(rng: Generator, shape: _Shape, canvas: np.ndarray) -> None:
    """Paints a shape, lit from one side and with a faint texture of its own."""
    height, width = shape.cover.shape
    side = max(height, width)
    texture = _pattern(rng, side)[:height, :width] - 0.5
    light = _gradient(rng, side)[:height, :width] - 0.5
    tint = _direction(rng) * rng.uniform(10, 45)
    fill = shape.colour + texture[..., None] * tint + light[..., None] * rng.uniform(10, 50)
    cover = shape.cover[..., None]
    canvas[shape.region] = canvas[shape.region] * (1 - cover) + np.clip(fill, 0, 255) * cover


def _background(rng: Generator, size: int) -> np.ndarray:
    """A texture between two colours, under uneven light. Shape: ``(size, size, 3)``, float32."""
    colour = _colour(rng, saturation=(0.0, 0.7), value=(0.15, 0.95))
    texture = _pattern(rng, size)
    if rng.random() < 0.5:
        texture = 0.6 * texture + 0.4 * _pattern(rng, size)
    tint = _direction(rng) * rng.uniform(25, 75)
    light = _noise(rng, size, cells=2) - 0.5
    canvas = colour + (texture - 0.5)[..., None] * tint + light[..., None] * rng.uniform(0, 40)
    return np.clip(canvas, 0, 255).astype(np.float32)


def _photograph(rng: Generator, canvas: np.ndarray) -> np.ndarray:
    """Adds mild blur, exposure and sensor noise."""
    if rng.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 0.8))
    canvas = canvas * np.float32(rng.uniform(0.9, 1.1)) + np.float32(rng.uniform(-10, 10))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas = canvas + noise * np.float32(rng.uniform(0, 6))
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _pattern(rng: Generator, size: int) -> np.ndarray:
    """A random texture. Shape: ``(size, size)``, float32, between 0 and 1."""
    return PATTERNS[int(rng.integers(len(PATTERNS)))](rng, size)


def _noise(rng: Generator, size: int, cells: int | None = None) -> np.ndarray:
    """Value noise: random values on a grid of ``cells`` and on finer ones, interpolated."""
    total = np.zeros((size, size), np.float32)
    count = cells or int(rng.integers(2, 7))
    weight = np.float32(1)
    for _ in range(1 if cells else 3):
        grid = rng.random((count + 1, count + 1), dtype=np.float32)
        total += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        count, weight = count * 2, weight / 2
    return _stretch(total)


def _gradient(rng: Generator, size: int) -> np.ndarray:
    return _stretch(_ramp(rng.uniform(0, 2 * np.pi), size))


def _stripes(rng: Generator, size: int) -> np.ndarray:
    ramp = _ramp(rng.uniform(0, np.pi), size)
    return _wave(ramp, rng.uniform(6, 24), rng.uniform(0, 2 * np.pi), rng.uniform(1, 5))


def _checker(rng: Generator, size: int) -> np.ndarray:
    angle, period, sharpness = rng.uniform(0, np.pi / 2), rng.uniform(8, 32), rng.uniform(2, 6)
    first = _wave(_ramp(angle, size), period, 0, sharpness)
    second = _wave(_ramp(angle + np.pi / 2, size), period, 0, sharpness)
    return first * second + (1 - first) * (1 - second)


def _speckle(rng: Generator, size: int) -> np.ndarray:
    """Round blots at random places."""
    noise: np.ndarray = rng.standard_normal((size, size), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.8, 3.0))
    noise = noise / max(float(noise.std()), 1e-6)
    return 1 / (1 + np.exp(-4 * (noise - np.float32(rng.uniform(0.0, 1.2)))))


PATTERNS: tuple[Callable[[Generator, int], np.ndarray], ...] = (
    _noise,
    _gradient,
    _stripes,
    _checker,
    _speckle,
)


def _ramp(angle: float, size: int) -> np.ndarray:
    """Distance in pixels along a direction."""
    axis = np.arange(size, dtype=np.float32)
    return axis * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))


def _wave(ramp: np.ndarray, period: float, phase: float, sharpness: float) -> np.ndarray:
    """A wave between 0 and 1 along a ramp: a sine (``sharpness`` 1) or nearly a square wave."""
    wave = np.sin(ramp * np.float32(2 * np.pi / period) + np.float32(phase))
    return 0.5 + 0.5 * np.tanh(wave * np.float32(sharpness))


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return (values - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _colour(
    rng: Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """A random colour in BGR order, between 0 and 255."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb[::-1], np.float32) * 255


def _direction(rng: Generator) -> np.ndarray:
    """A random direction in colour space, of length 1."""
    vector = rng.standard_normal(3, dtype=np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
