"""Reads images of any number of bands, and shows them as colour images."""

from io import BytesIO
from pathlib import Path

import numpy as np

from casvit.errors import MissingPackageError
from casvit.extras import how_to_install
from casvit.inputs.images import ImageError

ARRAY_SUFFIXES = ('.npy',)
"""Suffixes of files with bands that are no image files."""
TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
NUMPY_START = b'\x93NUMPY'
# Percentiles of a band between which it is shown from black to white.
DARKEST, BRIGHTEST = 2, 98


def decode_bands(content: bytes, name: str) -> np.ndarray:
    """Decodes an image with any number of bands, in the order and type in which they are stored.

    Args:
        content: The content of a file: .npy of shape ``(H, W)`` or ``(H, W, C)``; TIFF, whose bands
            may be interleaved, separate planes, or pages; or PNG and other images that OpenCV
            reads.
        name: The name of the file, for messages.

    Returns:
        Shape: ``(H, W, C)``. Colour images are RGB, with alpha as the fourth band.

    Raises:
        ImageError: The file is damaged, or its content is not an image.
        MissingPackageError: A TIFF needs tifffile, which is not installed.
    """
    try:
        if content.startswith(NUMPY_START):
            bands = np.load(BytesIO(content), allow_pickle=False)
        elif content.startswith(TIFF_STARTS):
            bands = _decode_tiff(content, name)
        else:
            bands = _decode_with_opencv(content)
    except (MissingPackageError, ImageError):
        raise
    # Decoders may raise any error for a damaged file.
    except Exception as error:
        raise ImageError(f'The image {name} cannot be read: {error}.') from error
    if bands is None:
        raise ImageError(f'The image {name} cannot be read: it is damaged, or not an image.')
    if bands.ndim == 2:
        bands = bands[..., None]
    if bands.ndim != 3 or 0 in bands.shape or bands.dtype.kind not in 'uifb':
        raise ImageError(
            f'The image {name} holds an array of shape {bands.shape} and type {bands.dtype}: '
            'expected numbers of shape (H, W) or (H, W, bands).'
        )
    return bands


def size_of_bands(path: Path) -> tuple[int, int] | None:
    """Reads the size of a file with bands from its header.

    Args:
        path: The file.

    Returns:
        Width and height; None if the file is neither .npy nor TIFF.

    Raises:
        Exception: The file is missing or damaged, or tifffile is not installed.
    """
    with path.open('rb') as file:
        start = file.read(len(NUMPY_START))
    if start == NUMPY_START:
        shape: tuple[int, ...] = np.load(path, mmap_mode='r', allow_pickle=False).shape
        return shape[1], shape[0]
    if not start.startswith(TIFF_STARTS):
        return None
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        sizes = dict(zip(series.axes, series.shape, strict=True))
    return sizes['X'], sizes['Y']


def as_colours(bands: np.ndarray) -> np.ndarray:
    """Shows an image of any number of bands in colour.

    Args:
        bands: Shape: ``(H, W)`` or ``(H, W, C)``, of any type.

    Returns:
        The first three bands as red, green and blue; fewer as grey. Bands that are not uint8 are
        stretched between their 2nd and 98th percentile. Shape: ``(H, W, 3)``, uint8.
    """
    bands = bands[..., None] if bands.ndim == 2 else bands
    shown = bands[..., :3] if bands.shape[-1] >= 3 else np.repeat(bands[..., :1], 3, axis=2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown)
    shown = np.nan_to_num(shown.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(shown, (DARKEST, BRIGHTEST), axis=(0, 1))
    stretched = (shown - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return (stretched.clip(0, 1) * 255).astype(np.uint8)


def _decode_tiff(content: bytes, name: str) -> np.ndarray:
    # OpenCV reads some TIFF files of four bands as one, and none of more. Pillow refuses them.
    try:
        import tifffile
    except ImportError as error:
        raise MissingPackageError(
            f'The bands of {name} need tifffile, which is not installed: '
            f'{how_to_install("tifffile")}.'
        ) from error
    with tifffile.TiffFile(BytesIO(content)) as file:
        series = file.series[0]
        bands, axes = series.asarray(), series.axes
    if bands.ndim != 3 or not {'Y', 'X'} <= set(axes):
        return bands
    (other,) = set(range(3)) - {axes.index('Y'), axes.index('X')}
    return np.ascontiguousarray(np.moveaxis(bands, other, -1))


def _decode_with_opencv(content: bytes) -> np.ndarray | None:
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim == 2:
        return pixels
    # OpenCV swaps red and blue.
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return np.ascontiguousarray(pixels[..., order])
