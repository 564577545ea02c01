"""Opens every image of a dataset: does it exist, is it complete, is it of the stated size?"""

import hashlib
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Semaphore
from typing import TypeVar

import cv2
import numpy as np
from PIL import ExifTags, Image

from casvit.sentences import count_of
from casvit.terminal.progress import Progress
from casvit_mm.datasets.decoding import decode, quiet_decoders
from casvit_mm.datasets.image_files import ImageSize, image_format, image_size

# Images to read ahead: enough to keep the threads busy, few enough to fit in memory.
AHEAD = 64
# OpenCV counts the bytes of a file with a signed integer.
MAX_BYTES = 2**31 - 1
# Images above this number of pixels are decoded one at a time: each takes a gigabyte or so.
LARGE = 2**26
JPEG_END = b'\xff\xd9'
PNG_START = b'\x89PNG\r\n\x1a\n'
# Place of the number of bits in a PNG file.
PNG_BITS = 24
EIGHT_BITS = ('JPEG', 'GIF', 'WEBP', 'BMP', 'DIB')
# Formats of which OpenCV may fill a missing part.
RASTER = (*EIGHT_BITS, 'PNG', 'TIFF', 'PPM', 'AVIF')
HEIC = tuple(b'ftyp' + brand for brand in (b'heic', b'heix', b'mif1', b'msf1', b'hevc'))

# A run keeps the upper 8 of 16 bits; cameras write 12, medical devices 10 to 14.
MOST_BITS, LEAST_BITS = 14, 9
FULL = 2**16 - 1

Job = TypeVar('Job')
Result = TypeVar('Result')

_ONE_LARGE = Semaphore()


@dataclass(frozen=True)
class ImageFile:
    """Facts about an image file.

    Attributes:
        issue: Kind of issue that keeps it from being read; empty if it was read.
        reason: Why it cannot be read.
        stored: Width and height as stored; (0, 0) if it cannot be read.
        upright: Width and height as loaded, rotated by its EXIF orientation.
        orientation: The EXIF orientation that a run applies, 1 for upright.
        digest: Hash of the content of the file; empty if it cannot be read.
        peak: The largest value of an image with more than 8 bits per channel, as a share of what
            its bits can hold; None for other images. A run reduces it to its upper 8 bits.
    """

    issue: str = ''
    reason: str = ''
    stored: tuple[int, int] = (0, 0)
    upright: tuple[int, int] = (0, 0)
    orientation: int = 1
    digest: str = ''
    peak: float | None = None


def inspect_image(path: str | Path) -> ImageFile:
    """Reads an image to its last pixel, with the decoder of a run.

    Args:
        path: The file.

    Returns:
        The facts; nothing is raised for a missing or damaged file.
    """
    try:
        content = _read(Path(path))
    except (FileNotFoundError, NotADirectoryError):
        return ImageFile('missing-picture', 'does not exist')
    except OSError as error:
        return ImageFile('unreadable-picture', f'cannot be read: {error.strerror or error}')
    except ValueError:
        # No file system allows a null character in a name.
        return ImageFile('missing-picture', 'does not exist')
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    if not content:
        return ImageFile('unreadable-picture', 'is empty', digest=digest)
    if content.startswith(PNG_START) and (damage := _damage_of_png(content)):
        return ImageFile('unreadable-picture', damage, digest=digest)
    file = BytesIO(content)
    try:
        image = Image.open(file)
        size = image_size(image, file)
    except Image.DecompressionBombError as error:
        return ImageFile('unreadable-picture', f'is too large: {error}', digest=digest)
    except Exception:
        # Pillow's parsers raise all kinds of exceptions, also for formats that only OpenCV reads.
        return _decoded(content, digest, None, None)
    with image:
        if size.stored[0] * size.stored[1] <= LARGE:
            return _decoded(content, digest, image, size)
        with _ONE_LARGE:
            return _decoded(content, digest, image, size)


def _read(path: Path) -> bytes:
    """Reads a file.

    Raises:
        OSError: It cannot be read, or is no regular file: reading a pipe or device never ends.
        ValueError: Its name is invalid.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(0, 'it is a folder')
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, 'it is a pipe or device, not a file')
    if status.st_size > MAX_BYTES:
        raise OSError(0, f'it has {status.st_size:,} bytes, which is too large for OpenCV')
    return path.read_bytes()


def _decoded(
    content: bytes, digest: str, image: Image.Image | None, size: ImageSize | None
) -> ImageFile:
    """Decodes an image.

    Args:
        content: The content of its file.
        digest: The hash of the content.
        image: The image, opened by Pillow; None if Pillow cannot open it.
        size: Its size according to the header.
    """
    kind = image_format(image) if image else ''
    damage = _damage(image) if image and not _ends_well(content, kind) else ''
    if kind == 'JPEG' and size and not damage:
        # For an eighth of the size, the same decoder skips most of its work.
        small = decode(content, cv2.IMREAD_REDUCED_COLOR_8)
        if small is not None:
            return ImageFile('', '', size.stored, size.upright, size.orientation, digest)
    pixels = decode(content)
    if pixels is None:
        reason = damage or _why_not(content, image)
        return ImageFile('unreadable-picture', reason, digest=digest)
    upright = (pixels.shape[1], pixels.shape[0])
    size = size or ImageSize(upright, upright)
    peak = None if _has_8_bits(content, image) else _peak(content, pixels)
    issue = 'truncated-picture' if damage else ''
    return ImageFile(issue, damage, size.stored, upright, size.orientation, digest, peak)


def _ends_well(content: bytes, kind: str) -> bool:
    """Whether a file is known to be complete without decoding it; False if that is unknown."""
    # The checksums of a PNG file were checked before.
    return kind == 'PNG' or (kind == 'JPEG' and content[-64:].rstrip(b'\0').endswith(JPEG_END))


def _damage_of_png(content: bytes) -> str:
    """Why the first image of a PNG file is damaged, without a subject; empty if it is not.

    OpenCV reserves as many bytes as a chunk claims to have, gigabytes if that number is damaged,
    and some versions crash the process at damaged pixels.
    """
    view, place, kind = memoryview(content), len(PNG_START), b''
    # Frames of an animation follow the first image, and may be damaged.
    while kind not in (b'IEND', b'fdAT'):
        start, kind = place + 4, content[place + 4 : place + 8]
        place = start + 8 + int.from_bytes(content[place:start], 'big')
        if place > len(content) and kind != b'fdAT':
            return 'is truncated or damaged (it ends within a chunk)'
        checksum = int.from_bytes(content[place - 4 : place], 'big')
        # Chunks whose name starts with a small letter may be ignored.
        if kind[:1].isupper() and zlib.crc32(view[start : place - 4]) != checksum:
            return f'is damaged (wrong checksum of a chunk {kind.decode("ascii", "replace")})'
    return ''


def _damage(image: Image.Image) -> str:
    """What Pillow says about a damaged image."""
    # For other formats, such as EPS, Pillow runs programs.
    if image_format(image) not in RASTER:
        return ''
    try:
        image.load()
    except Exception as error:
        return f'is truncated or damaged ({error})'
    return ''


def _why_not(content: bytes, image: Image.Image | None) -> str:
    """Why OpenCV cannot decode a file, without a subject."""
    if image and (damage := _damage(image)):
        return damage
    if content[4:12] in HEIC:
        kind = 'a HEIC file'
    elif image:
        kind = f'of type {image_format(image)} (mode {image.mode})'
    else:
        return 'is damaged, or not an image that OpenCV can decode'
    return f'is {kind}, which OpenCV, the reader of a run, cannot decode: save it as 8-bit PNG'


def _has_8_bits(content: bytes, image: Image.Image | None) -> bool:
    """Whether a file has at most 8 bits per channel; False if the header does not say it."""
    kind = image_format(image) if image else ''
    if kind == 'PNG':
        return content[PNG_BITS] <= 8
    if kind == 'TIFF':
        bits = getattr(image, 'tag_v2', {}).get(ExifTags.Base.BitsPerSample, (1,))
        return max(bits) <= 8
    return kind in EIGHT_BITS


def _peak(content: bytes, loaded: np.ndarray) -> float | None:
    """The largest value of an image with more than 8 bits as a share of its range."""
    pixels = decode(content, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype.itemsize == 1:
        return None
    # Some decoders scale to the bits in use or to floats from 0 to 1, others cut lower bits off.
    share = loaded.max() / 255
    if pixels.dtype.kind in 'iu':
        # A fourth channel is opacity.
        colours = pixels[..., :3] if pixels.ndim == 3 else pixels
        exact = colours.max() / np.iinfo(pixels.dtype).max
        # What is loaded is rounded to 8 bits.
        share = exact if share < exact + 1.5 / 255 else share
    return float(share)


def inspect_images(paths: Sequence[str | Path], *, progress: bool = True) -> Iterator[ImageFile]:
    """Reads many images, on all cores.

    Args:
        paths: The files.
        progress: Whether to draw a progress bar on stderr.

    Yields:
        The facts, in the order of the paths.
    """
    yield from in_parallel(inspect_image, paths, 'reading images' if progress else '', unit='image')


def darkness(peaks: Sequence[float]) -> str:
    """Explains that images use only the lower bits of their range.

    Args:
        peaks: The largest value of each image with more than 8 bits, as a share of its range.

    Returns:
        The reason, without a subject; empty if some image uses more.
    """
    bits = round(max(peaks, default=1.0) * FULL).bit_length()
    if bits > MOST_BITS:
        return ''
    number = count_of(len(peaks), 'image')
    return (
        f'has {number} with 16 bits that use at most {max(bits, 1)} of them, '
        f'1/{2 ** (16 - bits)} of the brightness range: --fix OUT --bits {max(bits, LEAST_BITS)}'
    )


def in_parallel(
    work: Callable[[Job], Result], jobs: Sequence[Job], title: str = '', *, unit: str = 'file'
) -> Iterator[Result]:
    """Runs a function that decodes images in threads; decoders release Python's lock.

    Args:
        work: The function. What C code prints on stderr meanwhile is dropped.
        jobs: The arguments, one per call.
        title: Title of a progress bar on stderr; none is drawn without it.
        unit: What the bar counts.

    Yields:
        Its results, in order. Only a few are held, so memory does not grow with the jobs.
    """
    with (
        quiet_decoders(),
        Progress(total=len(jobs), desc=title, unit=unit, disable=not title) as bar,
        ThreadPoolExecutor(max_workers=usable_cores()) as pool,
    ):
        queue = iter(jobs)
        waiting = deque(pool.submit(work, job) for job in islice(queue, AHEAD))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, job) for job in islice(queue, 1))
            bar.update()
            yield result


def usable_cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
