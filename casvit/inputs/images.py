"""Reads and writes images everywhere: files, PIL images and NumPy arrays, as uint8 RGB."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from casvit.errors import UserError
from casvit.files import written_whole

ImageLike = str | os.PathLike | Image.Image | np.ndarray

IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm'),
)
"""Suffixes of image files, in lower case."""
LARGEST = 2**30
"""Largest number of pixels of an image, as in OpenCV."""
# Only raster formats: Pillow runs external programs for others, such as EPS.
READ = ('JPEG', 'PNG', 'BMP', 'DIB', 'GIF', 'JPEG2000', 'PPM', 'TIFF', 'WEBP')
WRITTEN = {
    '.jpg': 'JPEG',
    '.jpeg': 'JPEG',
    '.png': 'PNG',
    '.webp': 'WEBP',
    '.bmp': 'BMP',
    '.tif': 'TIFF',
    '.tiff': 'TIFF',
}
LONGEST_SIDE = {'JPEG': 65500, 'WEBP': 16383}
OPTIONS: dict[str, dict[str, Any]] = {
    # Without halved colour resolution, which blurs coloured lines and letters.
    'JPEG': dict(quality=95, subsampling=0),
    'WEBP': dict(quality=95),
    'PNG': dict(compress_level=3),
    'TIFF': dict(compression='tiff_lzw'),
}
# Pixels that are converted per step, so that a very large image needs no second copy.
STRIP = 2**26
_PILLOWS_LIMIT = Lock()


class ImageError(UserError, ValueError):
    """An image cannot be read, written or used; the message says which, why and what to do."""


def load_image(image: ImageLike, *, bgr: bool = False) -> np.ndarray:
    """Returns the pixels of an image in any form.

    The EXIF orientation of files and PIL images is applied. Transparency is dropped, greyscale
    images get three equal channels, and 16-bit channels are reduced to their upper 8 bits, all as
    in OpenCV.

    Args:
        image: A file, a PIL image, or an array of uint8 (or uint16, or bool): ``(H, W, 3)`` RGB,
            ``(H, W, 4)`` RGBA, ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 2)`` grey with alpha.
        bgr: Whether arrays have OpenCV's channel order: BGR, BGRA. It does not affect files and
            PIL images.

    Returns:
        Shape: ``(H, W, 3)``, uint8 RGB. An array that already has this form is not copied.

    Raises:
        ImageError: The image cannot be read, or its type is not supported.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return _from_pil(image, 'The PIL image')
    if isinstance(image, np.ndarray):
        return _from_array(image, bgr)
    raise ImageError(
        f'An object of type {type(image).__name__} is not an image: expected a path, a PIL image '
        'or a NumPy array.'
    )


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file; if it holds several images, the first one.

    Args:
        path: The file: JPEG, PNG, BMP, GIF, JPEG 2000, PPM, TIFF or WebP, whatever its suffix.

    Returns:
        Shape: ``(H, W, 3)``, uint8 RGB.

    Raises:
        ImageError: The file cannot be read.
    """
    if '://' in os.fspath(path):
        raise ImageError(f'The image {path} is a URL: download it and give the path of the file.')
    path = Path(path)
    name = f'The image {path}'
    try:
        if not path.is_file():
            # Reading a pipe would block for ever.
            raise ImageError(f'{name} cannot be read: {_what_instead(path)}.')
        if not path.stat().st_size:
            raise ImageError(f'{name} cannot be read: it is empty.')
        with path.open('rb') as file:
            with _any_size():
                image = Image.open(file, formats=READ)
            width, height = image.size
            if width * height > LARGEST:
                raise ImageError(
                    f'{name} cannot be read: it has {width:,} x {height:,} pixels, more than '
                    f'{LARGEST:,}. Cut it into smaller images.'
                )
            return _from_pil(image, name)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f'{name} cannot be read: it does not fit into memory.') from error
    except Exception as error:
        # Pillow's parsers may raise any error for a damaged file.
        system = error.strerror if isinstance(error, OSError) else None
        raise ImageError(
            f'{name} cannot be read: {system or "it is damaged, or not an image"}.'
        ) from error


def write_image(pixels: np.ndarray, path: str | os.PathLike) -> None:
    """Writes an image file; never leaves it half-written.

    Args:
        pixels: Shape: ``(H, W, 3)``, uint8 RGB.
        path: The file; its suffix decides the type.

    Raises:
        ImageError: The suffix is not supported, the image is too large for its type, or the file
            cannot be written.
    """
    path = Path(path)
    kind = WRITTEN.get(path.suffix.lower())
    if kind is None:
        raise ImageError(
            f'The image {path} cannot be written: its name has to end in {", ".join(WRITTEN)}.'
        )
    if max(pixels.shape[:2]) > (limit := LONGEST_SIDE.get(kind, LARGEST)):
        raise ImageError(
            f'The image {path} cannot be written: {kind} allows at most {limit:,} pixels a side. '
            'Write a .png instead.'
        )
    try:
        with written_whole(path) as unfinished:
            Image.fromarray(pixels).save(unfinished, kind, **OPTIONS.get(kind, {}))
    except OSError as error:
        raise ImageError(
            f'The image {path} cannot be written: {error.strerror or error}.'
        ) from error


@contextmanager
def _any_size() -> Iterator[None]:
    """Lifts Pillow's size limit, a global setting, for a moment."""
    with _PILLOWS_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _what_instead(path: Path) -> str:
    if path.is_dir():
        return 'it is a folder'
    return 'it is not a file' if os.path.lexists(path) else 'it does not exist'


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    # Pillow rotates some types while loading them, and then removes their orientation.
    image.load()
    if 0 in image.size:
        raise ImageError(f'{name} has no pixels.')
    return np.ascontiguousarray(_turned(_stored_pixels(image, name), _orientation(image)))


def _stored_pixels(image: Image.Image, name: str) -> np.ndarray:
    """The pixels of a loaded image, not yet rotated. Shape: ``(h, w, 3)``, uint8 RGB."""
    mode = image.mode
    if mode.startswith('I;16') or (mode == 'I' and image.format in ('PNG', 'PPM')):
        return _grey_as_rgb((np.asarray(image) >> 8).astype(np.uint8))
    if mode in ('I', 'F'):
        kind = 'floats' if mode == 'F' else '32-bit integers'
        raise ImageError(
            f'{name} holds {kind} (mode {mode}), whose range is unknown: scale them to 0-255 and '
            'pass them as a NumPy array of uint8.'
        )
    try:
        width, height = image.size
        if width * height <= STRIP:
            return _as_rgb(image)
        pixels = np.empty((height, width, 3), np.uint8)
        rows = max(1, STRIP // width)
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            with _any_size():
                strip = image.crop((0, top, width, bottom))
            pixels[top:bottom] = _as_rgb(strip)
        return pixels
    except ValueError as error:
        raise ImageError(
            f'{name} has the colour mode {mode}, which is not supported: save it as RGB.'
        ) from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode == 'RGB':
        return np.asarray(image)
    if image.mode == 'P':
        # Via RGBA: otherwise Pillow warns that transparency is lost.
        return np.asarray(image.convert('RGBA'))[..., :3]
    return np.asarray(image.convert('RGB'))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Pillow's parsers may raise any error for damaged EXIF data; the image is still usable.
        return 1
    return value if isinstance(value, int) else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation to stored pixels, without copying them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _from_array(array: np.ndarray, bgr: bool) -> np.ndarray:
    what = f'An array of shape {array.shape} and type {array.dtype}'
    channels = {2: 1, 3: array.shape[-1] if array.ndim else 0}.get(array.ndim, 0)
    if channels not in (1, 2, 3, 4) or 0 in array.shape:
        hint = ' Pass several images as a list.' if array.ndim == 4 else ''
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = ' Put the channels last: array.transpose(1, 2, 0).'
        raise ImageError(
            f'{what} is not an image: expected (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey.{hint}'
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind == 'u' and array.dtype.itemsize == 2:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f'{what} has values whose range is unknown: expected uint8, 0 to 255. Convert floats '
            'from 0 to 1 with (array * 255).round().astype(numpy.uint8).'
        )
    if channels <= 2:
        return _grey_as_rgb(array if array.ndim == 2 else array[..., 0])
    colours = array if channels == 3 else array[..., :3]
    return np.ascontiguousarray(colours[..., ::-1] if bgr else colours)


def _grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)
