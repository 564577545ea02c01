"""Image files as a run reads them: their size, and whether EXIF rotates them.

Pillow reads the header. Whether an orientation is applied is up to OpenCV, which decodes the images
of a run. The formats it rotates differ between versions, so this is tested with a small image.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from casvit.inputs.bands import size_of_bands

ORIENTATION = ExifTags.Base.Orientation


@dataclass(frozen=True)
class ImageSize:
    """Size of an image file in pixels.

    Attributes:
        stored: Width and height as stored.
        upright: Width and height as a run loads it.
        orientation: The EXIF orientation that a run applies; 1 if it applies none.
    """

    stored: tuple[int, int]
    upright: tuple[int, int]
    orientation: int = 1


def image_size(image: Image.Image, file: BinaryIO) -> ImageSize:
    """Reads the size of an image from its header.

    Args:
        image: The image, opened but not loaded yet.
        file: The file that it was opened from.
    """
    size, orientation = image.size, _orientation(image, file)
    if orientation == 1:
        return ImageSize(size, size)
    turns = _turns(image_format(image), orientation)
    stored = size[::-1] if turns.header_swapped else size
    upright = stored[::-1] if turns.run_swapped else stored
    return ImageSize(stored, upright, orientation if turns.run_turns else 1)


def image_format(image: Image.Image) -> str:
    """Pillow's name of the format that an opened image is read as."""
    # Phones write JPEG files with several images, of which only the first is read.
    return 'JPEG' if image.format == 'MPO' else image.format or ''


def read_image_size(path: str | Path) -> ImageSize:
    """Reads the size of an image file from its header.

    Raises:
        Exception: The file is missing, damaged or not an image; whatever Pillow's parsers raise.
    """
    try:
        with Path(path).open('rb') as file, Image.open(file) as image:
            return image_size(image, file)
    except UnidentifiedImageError:
        size = size_of_bands(Path(path))
        if size is None:
            raise
        return ImageSize(size, size)


@dataclass(frozen=True)
class _Turns:
    run_turns: bool = False
    run_swapped: bool = False
    header_swapped: bool = False


@lru_cache
def _turns(kind: str, orientation: int) -> _Turns:
    """How OpenCV and Pillow treat an orientation in files of a format."""
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:8, :16], pixels[:8, 16:] = 255, 120
    exif, file = Image.Exif(), BytesIO()
    exif[ORIENTATION] = orientation
    lossless = dict(lossless=True) if kind == 'WEBP' else {}
    try:
        Image.fromarray(pixels).save(file, kind, exif=exif, **lossless)
        decoded = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (OSError, KeyError, ValueError, cv2.error):
        decoded = None
    if decoded is None:
        return _Turns()
    swapped = decoded.shape == pixels.shape[::-1]
    turned = swapped or bool(cv2.absdiff(decoded, pixels).mean() > 20)
    with Image.open(file) as image:
        return _Turns(turned, swapped, image.size == pixels.shape)


def _orientation(image: Image.Image, file: BinaryIO) -> int:
    """The EXIF orientation in a file; 1 if there is none or it cannot be read.

    Not with `getexif`, which decodes the pixels of a PNG, and reads XMP, which a run ignores.
    """
    try:
        if hasattr(image, 'tag_v2'):
            value = image.tag_v2.get(ORIENTATION)
        else:
            block = image.info.get('exif')
            if block is None and image.format == 'PNG':
                block = _exif_of_png(file)
            exif = Image.Exif()
            exif.load(block or b'')
            value = exif.get(ORIENTATION)
    except Exception:
        # Pillow's parsers raise all kinds of exceptions for a damaged block, which runs ignore.
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _exif_of_png(file: BinaryIO) -> bytes | None:
    """Reads the EXIF block of a PNG file, wherever it is, without decoding the pixels before it."""
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b'IEND':
            length = int.from_bytes(head[:4], 'big')
            if head[4:] == b'eXIf':
                return file.read(length)
            file.seek(length + 4, 1)
    finally:
        file.seek(place)
    return None
