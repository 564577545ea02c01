"""From an image of any size to the input of an exported model, as OpenMMLab's pipelines do it."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from casvit.errors import UserError
from casvit.exported.resize import resize_bilinear

Step = Mapping[str, Any]
"""A step of a preparation: ``step``, the key of a function in :data:`STEPS`, and its options."""


class PreparationError(UserError, ValueError):
    """Images cannot be prepared for an exported model as its file says."""


@dataclass(frozen=True)
class Prepared:
    """An image on its way to the network.

    Attributes:
        pixels: Shape: ``(H, W, 3)``, uint8 RGB.
        scale: Width and height of ``pixels``, without padding, relative to those of the image.
        inside: Height and width of the part that is not padding.
    """

    pixels: np.ndarray
    scale: tuple[float, float]
    inside: tuple[int, int]


def prepare(image: np.ndarray, steps: Sequence[Step]) -> Prepared:
    """Prepares an image for the network.

    Args:
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        steps: The steps, in their order.
    """
    height, width = image.shape[:2]
    prepared = Prepared(image, (1.0, 1.0), (height, width))
    for step in steps:
        options = {key: value for key, value in step.items() if key != 'step'}
        prepared = STEPS[step['step']](prepared, **options)
    return prepared


def check_steps(steps: Any) -> None:
    """Checks that steps can be carried out.

    Raises:
        PreparationError: They are no list of steps, one is unknown, or has other options.
    """
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise PreparationError('its preparation of images is not a list of steps')
    for step in steps:
        name = step.get('step')
        if not isinstance(name, str) or name not in STEPS:
            raise PreparationError(
                f'its preparation of images has the step {name!r}; known: {", ".join(STEPS)}'
            )
        signature = inspect.signature(STEPS[name])
        options = {key: value for key, value in step.items() if key != 'step'}
        try:
            signature.bind(None, **options)
        except TypeError as error:
            raise PreparationError(f'its step {name} of preparing images: {error}') from error
        if not all(map(_is_option, options.values())):
            raise PreparationError(f'its step {name} of preparing images has invalid values')


def _is_option(value: Any) -> bool:
    if isinstance(value, list):
        return 0 < len(value) <= 3 and all(map(_is_option, value))
    return isinstance(value, (bool, str)) or (
        isinstance(value, (int, float)) and 0 <= value <= 2**16
    )


@dataclass(frozen=True)
class Fit:
    """A preparation that an exported file can have inside: every image is made to fit one size.

    Attributes:
        to: Height and width of the input of the network.
        keep_ratio: Whether images keep their aspect ratio, and are padded at the bottom or right.
        colour: RGB colour of the padding.
    """

    to: tuple[int, int]
    keep_ratio: bool
    colour: tuple[int, ...]

    def inside(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what becomes of an image in the input.

        Args:
            size: Height and width of the image.

        Raises:
            PreparationError: Nothing would be left of it.
        """
        if not self.keep_ratio:
            return self.to
        return _required(_scaled(size, min(self.to[0] / size[0], self.to[1] / size[1])))


def fit_of(steps: Sequence[Step]) -> Fit:
    """The steps as a single one that fits an image into the input.

    Raises:
        PreparationError: They are others than resizing bilinearly to one size, and padding.
    """
    kinds = [step['step'] for step in steps]
    if kinds[:1] in (['resize'], ['resize_sides']) and kinds[1:] in ([], ['pad']):
        resize = steps[0]
        sides = tuple(resize['to'] if kinds[0] == 'resize' else (resize['long'], resize['short']))
        keep = resize.get('keep_ratio', True)
        # Different limits of the long and the short side are no limits of height and width.
        one_size = kinds[0] == 'resize' or sides[0] == sides[1]
        padded = [tuple(step['to']) for step in steps[1:]]
        if resize['method'] == 'bilinear' and one_size and padded == ([sides] if keep else []):
            return Fit(sides, keep, tuple(steps[1]['value']) if keep else (0, 0, 0))
    raise PreparationError(
        'only bilinear resizing to one size, and padding, can be inside a file, and the images of '
        f'this model are prepared otherwise: {", ".join(kinds) or "not at all"}'
    )


def _resize(prepared: Prepared, to: Sequence[int], keep_ratio: bool, method: str) -> Prepared:
    """Resizes to a height and width; with ``keep_ratio`` so that it fits within both."""
    height, width = prepared.pixels.shape[:2]
    if keep_ratio:
        height, width = _scaled((height, width), min(to[0] / height, to[1] / width))
    else:
        height, width = to
    return _resized(prepared, height, width, method)


def _resize_sides(prepared: Prepared, long: int, short: int, method: str) -> Prepared:
    """Resizes so that the longer side is at most ``long`` and the shorter at most ``short``."""
    height, width = prepared.pixels.shape[:2]
    scale = min(long / max(height, width), short / min(height, width))
    return _resized(prepared, *_scaled((height, width), scale), method)


def _resize_edge(prepared: Prepared, to: int, edge: str, method: str) -> Prepared:
    """Resizes so that one side has a length: the 'short', 'long', 'width' or 'height' one."""
    height, width = prepared.pixels.shape[:2]
    shorter = width < height
    if edge == 'width' or (edge == 'short' and shorter) or (edge == 'long' and width > height):
        return _resized(prepared, int(to * height / width), to, method)
    return _resized(prepared, to, int(to * width / height), method)


def _resize_to_multiple(prepared: Prepared, divisor: int) -> Prepared:
    """Resizes both sides to the next multiple of a number."""
    height, width = (math.ceil(side / divisor) * divisor for side in prepared.pixels.shape[:2])
    return _resized(prepared, height, width, 'bilinear')


def _center_crop(prepared: Prepared, to: Sequence[int]) -> Prepared:
    """Cuts out the middle. Only for classifiers: positions are not traced back."""
    starts = [
        max(0, round((side - new) / 2))
        for side, new in zip(prepared.pixels.shape[:2], to, strict=True)
    ]
    rows, columns = (slice(start, start + new) for start, new in zip(starts, to, strict=True))
    pixels = prepared.pixels[rows, columns]
    return replace(prepared, pixels=pixels, inside=pixels.shape[:2])


def _pad(prepared: Prepared, to: Sequence[int], value: Sequence[int]) -> Prepared:
    """Pads at the bottom and right to a height and width."""
    height, width = prepared.pixels.shape[:2]
    padded = np.empty((max(height, to[0]), max(width, to[1]), 3), np.uint8)
    padded[:] = value
    padded[:height, :width] = prepared.pixels
    return replace(prepared, pixels=padded)


STEPS: dict[str, Callable[..., Prepared]] = {
    'resize': _resize,
    'resize_sides': _resize_sides,
    'resize_edge': _resize_edge,
    'resize_to_multiple': _resize_to_multiple,
    'center_crop': _center_crop,
    'pad': _pad,
}
"""The steps. Their methods are 'bilinear', as OpenCV does it, and 'pillow bicubic'."""


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _required(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 1:
        raise PreparationError(
            'too narrow to be resized as the model expects; use tiles (--tile SIZE, tile=SIZE), '
            'which are not resized'
        )
    return size


def _resized(prepared: Prepared, height: int, width: int, method: str) -> Prepared:
    before = prepared.pixels.shape[:2]
    height, width = _required((height, width))
    if method == 'pillow bicubic':
        image = Image.fromarray(prepared.pixels)
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    else:
        pixels = resize_bilinear(prepared.pixels, height, width)
    scale = (prepared.scale[0] * width / before[1], prepared.scale[1] * height / before[0])
    return Prepared(pixels, scale, (height, width))
