"""Writes a changed copy of a dataset atomically, without touching the original."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from casvit.errors import DatasetError
from casvit.files import written_whole
from casvit.names import printable
from casvit.sentences import reason_of
from casvit_mm.datasets.image_files import image_format

CHANGES = 'changes.txt'
JPEG_QUALITY = 95
LOSSLESS_TIFF = ('tiff_lzw', 'tiff_adobe_deflate', 'tiff_deflate', 'packbits')
Turn = Image.Transpose
# The transpose that undoes each EXIF orientation.
TURNED_BACK = {
    **{2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM},
    **{5: Turn.TRANSPOSE, 6: Turn.ROTATE_90, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_270},
}


def write_copy(out: Path, write: Callable[[Path], list[str]]) -> list[str]:
    """Writes a folder atomically.

    Args:
        out: A new or empty folder.
        write: Fills a folder and returns the changes.

    Returns:
        The changes, which are also written to ``changes.txt`` in the folder.

    Raises:
        DatasetError: ``out`` is not empty, or cannot be written.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f'{out} already exists: name a new or empty folder for the copy.')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as folder:
            folder.mkdir()
            changes = write(folder)
            text = '\n'.join(map(printable, changes or ['No issues found.'])) + '\n'
            (folder / CHANGES).write_text(text, encoding='utf-8')
    except OSError as error:
        raise DatasetError(f'The copy cannot be written to {out}: {reason_of(error)}.') from error
    return changes


def copy_whole(source: Path, target: Path) -> None:
    """Copies a file with its content unchanged."""
    shutil.copy2(source, target)


def copy_scaled(source: Path, target: Path, bits: int) -> None:
    """Copies an image of 16 bits, its values scaled up from those that are in use.

    Args:
        source: The image, as PNG or TIFF.
        target: The copy, in the format of its suffix.
        bits: Number of bits in use.

    Raises:
        DatasetError: A value needs more bits.
    """
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.fromfile(source, np.uint8), flags)
    if pixels is None or pixels.dtype != np.uint16:
        copy_whole(source, target)
        return
    if int(pixels.max()) >> bits:
        raise DatasetError(
            f'{source} has the value {int(pixels.max()):,}, which needs more than {bits} bits: '
            'use a larger --bits.'
        )
    scaled = np.left_shift(pixels, 16 - bits, dtype=np.uint16)
    cv2.imencode(target.suffix, scaled)[1].tofile(target)


def copy_upright(source: Path, target: Path) -> None:
    """Copies an image, rotated by its EXIF orientation and without that tag.

    Args:
        source: The image.
        target: The copy, in the format of the source whatever its suffix.
    """
    with Image.open(source) as image:
        _save(ImageOps.exif_transpose(image), target, image)


def copy_as_stored(source: Path, target: Path) -> None:
    """Copies an image with its pixels as stored, without the EXIF orientation."""
    with Image.open(source) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.load()
        # Pillow rotates TIFF files itself, and removes the tag.
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != orientation
        stored = image.transpose(TURNED_BACK[orientation]) if turned else image.copy()
        _save(stored, target, image)


def free_name(name: str, taken: set[str]) -> str:
    """Returns a file name that is not taken yet and does not leave its folder.

    Args:
        name: The wanted name; ``/`` separates folders.
        taken: The names in use, to which the result is added.
    """
    parts = [part for part in Path(name).parts if part not in ('..', '.', '/', Path(name).anchor)]
    wanted = Path(*parts) if parts else Path('image')
    free, number = wanted, 1
    while free.as_posix().lower() in taken:
        number += 1
        free = wanted.with_name(f'{wanted.stem}-{number}{wanted.suffix}')
    taken.add(free.as_posix().lower())
    return free.as_posix()


def _save(image: Image.Image, target: Path, source: Image.Image) -> None:
    """Writes an image in the format of its source, with as little loss as possible."""
    # Without the tag the rest of EXIF is useless for training, and may name people and places.
    for key in ('exif', 'xmp', 'XML:com.adobe.xmp', 'Raw profile type exif'):
        image.info.pop(key, None)
    kind = image_format(source)
    options: dict[str, Any] = {}
    if kind == 'JPEG':
        options = dict(quality=JPEG_QUALITY)
    elif kind == 'WEBP':
        options = dict(lossless=True)
    elif kind == 'TIFF' and source.info.get('compression') in LOSSLESS_TIFF:
        options = dict(compression=source.info['compression'])
    image.save(target, kind, exif=b'', **options)
