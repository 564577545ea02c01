"""Opens every image of a dataset: is it there, whole, and of the size that is stated?"""

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

# Images that are read ahead: enough to keep the threads busy, little to keep in memory.
AHEAD = 64

Job = TypeVar('Job')
Answer = TypeVar('Answer')


@dataclass(frozen=True)
class ImageFile:
    """What is known of an image file.

    Attributes:
        issue: Kind of issue that keeps it from being read, empty where it was read.
        reason: What the reader said of it.
        stored: Width and height as stored; (0, 0) where it cannot be read.
        upright: Width and height as it is loaded, turned by its EXIF orientation.
        orientation: The EXIF orientation by which a run turns it, 1 for upright.
        digest: Of the content of the file; empty where it cannot be read.
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
        What was found; nothing is raised for a file that is missing or damaged.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return ImageFile('missing-picture', 'is not there')
    except OSError as error:
        return ImageFile('unreadable-picture', f'cannot be read: {error.strerror or error}')
    except ValueError:
        # No file system has a name with a null character in it.
        return ImageFile('missing-picture', 'is not there')
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    file = BytesIO(content)
    try:
        with Image.open(file) as image:
            size = image_size(image, file)
            facts = (size.stored, size.upright, size.orientation, digest)
            try:
                image.load()
            except Exception as error:
                reason = f'ends too early, or is damaged ({error})'
                return ImageFile('truncated-picture', reason, *facts)
    except Image.DecompressionBombError as error:
        return ImageFile('unreadable-picture', f'is too large: {error}', digest=digest)
    except Exception:
        # Pillow's parsers raise anything for a damaged file.
        reason = 'is empty' if not content else 'is no image'
        return ImageFile('unreadable-picture', reason, digest=digest)
    return ImageFile('', '', *facts)


def inspect_images(paths: Sequence[str | Path], *, progress: bool = True) -> Iterator[ImageFile]:
    """Reads many images, on all cores.

    Args:
        paths: The files.
        progress: Whether to draw a progress bar on stderr.

    Yields:
        What was found, in the order of the paths.
    """
    answers = in_parallel(inspect_image, paths)
    yield from tqdm(
        answers, total=len(paths), desc='reading images', unit='image', disable=not progress
    )


def in_parallel(work: Callable[[Job], Answer], jobs: Iterable[Job]) -> Iterator[Answer]:
    """Runs a function in threads; decoders work outside of Python's lock.

    Args:
        work: The function.
        jobs: Its arguments.

    Yields:
        Its answers, in order. Only a few are kept waiting, so memory does not grow with the jobs.
    """
    jobs = iter(jobs)
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        waiting = deque(pool.submit(work, job) for job in islice(jobs, AHEAD))
        while waiting:
            answer = waiting.popleft().result()
            waiting.extend(pool.submit(work, job) for job in islice(jobs, 1))
            yield answer


def usable_cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
