"""Opens every picture of a data set: is it there, whole, and of the size that is stated?"""

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

from PIL import ExifTags, Image, UnidentifiedImageError
from tqdm import tqdm

# Pictures that are read ahead: enough to keep the threads busy, little to keep in memory.
AHEAD = 64

Job = TypeVar('Job')
Answer = TypeVar('Answer')


@dataclass(frozen=True)
class Picture:
    """What is known of a picture file.

    Attributes:
        fault: Kind of fault that keeps it from being read, empty where it was read.
        reason: What the reader said of it.
        stored: Width and height as stored; (0, 0) where it cannot be read.
        upright: Width and height as it is loaded, turned by its EXIF orientation.
        orientation: The EXIF orientation, 1 for upright.
        digest: Of the content of the file; empty where it cannot be read.
    """

    fault: str = ''
    reason: str = ''
    stored: tuple[int, int] = (0, 0)
    upright: tuple[int, int] = (0, 0)
    orientation: int = 1
    digest: str = ''


def look_at_picture(path: str | Path) -> Picture:
    """Reads a picture to its last pixel.

    Args:
        path: The file.

    Returns:
        What was found; nothing is raised for a file that is missing or damaged.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return Picture('missing-picture', 'is not there')
    except OSError as error:
        return Picture('unreadable-picture', f'cannot be read: {error.strerror or error}')
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        with Image.open(BytesIO(content)) as picture:
            stored = picture.size
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
            orientation = orientation if orientation in range(1, 9) else 1
            upright = stored[::-1] if orientation >= 5 else stored
            try:
                picture.load()
            except (OSError, SyntaxError, ValueError, EOFError) as error:
                reason = f'ends too early, or is damaged ({error})'
                return Picture('truncated-picture', reason, stored, upright, orientation, digest)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError):
        reason = 'is empty' if not content else 'is no picture'
        return Picture('unreadable-picture', reason, digest=digest)
    except Image.DecompressionBombError as error:
        return Picture('unreadable-picture', f'is too large: {error}', digest=digest)
    return Picture('', '', stored, upright, orientation, digest)


def look_at_pictures(paths: Sequence[str | Path], *, progress: bool = True) -> Iterator[Picture]:
    """Reads many pictures, on all cores.

    Args:
        paths: The files.
        progress: Whether to draw a progress bar on stderr.

    Yields:
        What was found, in the order of the paths.
    """
    answers = in_parallel(look_at_picture, paths)
    yield from tqdm(
        answers, total=len(paths), desc='reading pictures', unit='picture', disable=not progress
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
