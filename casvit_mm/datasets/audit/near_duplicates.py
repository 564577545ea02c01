"""Looks for images that nearly equal one in another split, by perceptual hashes of `imagehash`.

The hash of an image says which of its low frequencies are above their median. Copies that were
resized, compressed, brightened or slightly cropped differ from their original in few bits, other
images in about half of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Semaphore
from types import ModuleType
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from casvit.errors import MissingPackageError
from casvit.extras import how_to_install
from casvit_mm.datasets.audit.images import LARGE, ImageFile, in_parallel
from casvit_mm.datasets.decoding import decode

# Frequencies in each direction. With 8, usual elsewhere, generated images of one kind get close.
HASH_SIZE = 16
# Largest number of bits, of 256, in which near copies differ. Of 28,000 pairs of photographs of
# different scenes, and 20,000 of generated images, none differ in fewer than 82.
MOST_BITS = 40
# Standard deviation of the grey levels below which an image shows nothing to compare.
PLAIN = 2.0
# Shorter side of the image that is hashed, in pixels: a multiple of what `imagehash` reduces it to.
SIDE = 128
# Images that are compared at a time with those of all later splits: bounds the memory.
ROWS = 256
JPEG_START = b'\xff\xd8'
# For these fractions of the size, the decoder of JPEG skips most of its work.
REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}

_ONE_LARGE = Semaphore()


class SplitImage(NamedTuple):
    """An image of a split, and what is known about its file."""

    split: str
    path: Path
    file: ImageFile


def load_imagehash() -> ModuleType:
    """Imports `imagehash`.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import imagehash
    except ImportError as error:
        raise MissingPackageError(
            'Near-duplicates are found by imagehash, which is not installed: '
            f'{how_to_install("imagehash")}.'
        ) from error
    return imagehash


def find_near_duplicates(
    images: Sequence[SplitImage], *, progress: bool = True
) -> Iterator[tuple[int, str]]:
    """Looks for images that nearly equal one in a later split.

    Files with the same content are not near-duplicates, and neither are images without contrast.
    Unreadable images are skipped.

    Args:
        images: All images of a dataset; the splits follow each other in the order in which they
            first appear.
        progress: Whether to draw a progress bar on stderr.

    Yields:
        The position of an image, and the nearest image in a later split as a sentence without its
        subject.

    Raises:
        MissingPackageError: `imagehash` is not installed.
    """
    load_imagehash()
    splits = list(dict.fromkeys(image.split for image in images))
    if len(splits) < 2:
        return
    title = 'comparing images' if progress else ''
    hashes = list(in_parallel(_hash, images, title, unit='image'))
    known = [index for index, bits in enumerate(hashes) if bits is not None]
    for number, split in enumerate(splits[:-1]):
        later = set(splits[number + 1 :])
        first = [index for index in known if images[index].split == split]
        second = [index for index in known if images[index].split in later]
        for index, other in _nearest(first, second, hashes, images):
            near = images[other]
            yield index, f'nearly equals {near.path} in {near.split}'


def _hash(image: SplitImage) -> np.ndarray | None:
    """The perceptual hash of an image as a run loads it.

    Returns:
        Shape: ``(256,)``, boolean; None if the image cannot be read or has no contrast.
    """
    if image.file.issue or not image.file.digest:
        return None
    width, height = image.file.upright
    with _ONE_LARGE if width * height > LARGE else nullcontext():
        grey = _load(image)
    if grey is None:
        return None
    scale = SIDE / min(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    if grey.std() < PLAIN:
        return None
    found = load_imagehash().phash(Image.fromarray(grey), hash_size=HASH_SIZE)
    return np.asarray(found.hash, bool).ravel()


def _load(image: SplitImage) -> np.ndarray | None:
    """Loads an image in grey. Shape: ``(H, W)``, uint8; a large JPEG file is reduced."""
    try:
        content = image.path.read_bytes()
    except OSError:
        return None
    flags = cv2.IMREAD_GRAYSCALE
    if content.startswith(JPEG_START):
        side = min(image.file.upright)
        flags = next((flag for part, flag in REDUCED.items() if side >= SIDE * part), flags)
    return decode(content, flags)


def _nearest(
    first: Sequence[int],
    second: Sequence[int],
    hashes: Sequence[np.ndarray | None],
    images: Sequence[SplitImage],
) -> Iterator[tuple[int, int]]:
    """Pairs each image with the nearest of others, if it is near enough.

    Args:
        first: Positions of the images.
        second: Positions of the others.
        hashes: The hashes of all images.
        images: All images.

    Yields:
        Positions of an image and of its near copy.
    """
    if not first or not second:
        return
    # The product of two rows of -1 and 1 is the number of equal bits less that of different ones.
    others = _signs(second, hashes)
    numbers: dict[str, int] = {}
    contents = np.array(
        [numbers.setdefault(images[index].file.digest, len(numbers)) for index in second]
    )
    for start in range(0, len(first), ROWS):
        rows = first[start : start + ROWS]
        own = np.array([numbers.get(images[index].file.digest, -1) for index in rows])
        different = (HASH_SIZE**2 - _signs(rows, hashes) @ others.T) / 2
        different[own[:, None] == contents] = HASH_SIZE**2
        nearest = different.argmin(1)
        for row, column in enumerate(nearest):
            if different[row, column] <= MOST_BITS:
                yield rows[row], second[column]


def _signs(positions: Sequence[int], hashes: Sequence[np.ndarray | None]) -> np.ndarray:
    """Hashes as numbers -1 and 1. Shape: ``(N, 256)``."""
    return np.array([hashes[position] for position in positions], np.float32) * 2 - 1
