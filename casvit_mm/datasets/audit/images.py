"""Opens every image of a dataset: does it exist, is it complete, is it of the stated size?"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

from PIL import Image
from tqdm import tqdm

from casvit_mm.datasets.image_files import image_size

# Images to read ahead: enough to keep the threads busy, few enough to fit in memory.
AHEAD = 64

Job = TypeVar('Job')
Result = TypeVar('Result')


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
    """

    issue: str = ''
    reason: str = ''
    stored: tuple[int, int] = (0, 0)
    upright: tuple[int, int] = (0, 0)
    orientation: int = 1
    digest: str = ''


def inspect_image(path: str | Path) -> ImageFile:
    """Reads an image to its last pixel.

    Args:
        path: The file.

    Returns:
        The facts; nothing is raised for a missing or damaged file.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return ImageFile('missing-picture', 'does not exist')
    except OSError as error:
        return ImageFile('unreadable-picture', f'cannot be read: {error.strerror or error}')
    except ValueError:
        # No file system allows a null character in a name.
        return ImageFile('missing-picture', 'does not exist')
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    file = BytesIO(content)
    try:
        with Image.open(file) as image:
            size = image_size(image, file)
            facts = (size.stored, size.upright, size.orientation, digest)
            try:
                image.load()
            except Exception as error:
                reason = f'is truncated or damaged ({error})'
                return ImageFile('truncated-picture', reason, *facts)
    except Image.DecompressionBombError as error:
        return ImageFile('unreadable-picture', f'is too large: {error}', digest=digest)
    except Exception:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        reason = 'is empty' if not content else 'is not an image'
        return ImageFile('unreadable-picture', reason, digest=digest)
    return ImageFile('', '', *facts)


def inspect_images(paths: Sequence[str | Path], *, progress: bool = True) -> Iterator[ImageFile]:
    """Reads many images, on all cores.

    Args:
        paths: The files.
        progress: Whether to draw a progress bar on stderr.

    Yields:
        The facts, in the order of the paths.
    """
    results = in_parallel(inspect_image, paths)
    yield from tqdm(
        results, total=len(paths), desc='reading images', unit='image', disable=not progress
    )


def in_parallel(work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Runs a function in threads; decoders release Python's lock.

    Args:
        work: The function.
        jobs: The arguments, one per call.

    Yields:
        Its results, in order. Only a few are held, so memory does not grow with the jobs.
    """
    jobs = iter(jobs)
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        waiting = deque(pool.submit(work, job) for job in islice(jobs, AHEAD))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, job) for job in islice(jobs, 1))
            yield result


def usable_cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
