"""Folders of images, and videos: read and written one image after the other."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from casvit.errors import MissingPackageError, UserError
from casvit.inputs.bands import ARRAY_SUFFIXES
from casvit.inputs.images import IMAGE_SUFFIXES

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
FRAMES_PER_SECOND = 25.0


class StreamError(UserError, ValueError):
    """A folder or a video cannot be read or written; the message says which and why."""


def list_images(folder: str | Path) -> list[Path]:
    """Lists the images of a folder, sorted by name; subfolders are ignored.

    Arrays (.npy) count as images if there are no others.

    Args:
        folder: The folder.

    Raises:
        StreamError: The folder does not exist, or contains no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = 'is a file' if folder.exists() else 'does not exist'
        raise StreamError(f'The folder {folder} {what}.')
    files = sorted(folder.iterdir())
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    images = images or [path for path in files if path.suffix.lower() in ARRAY_SUFFIXES]
    if not images:
        raise StreamError(f'The folder {folder} contains no image ({", ".join(IMAGE_SUFFIXES)}).')
    return images


class Video:
    """The frames of a video, read one after the other as they are needed.

    Iterating gives RGB frames, ``(H, W, 3)`` uint8, from the first; it can be done several times.

    Args:
        path: The file.

    Raises:
        StreamError: The file does not exist, or is not a video. Also while iterating, if it is
            gone.
        MissingPackageError: OpenCV is not installed.

    Warns:
        UserWarning: The video ended more than a second before its stored length.

    Attributes:
        path: The file.
        frames_per_second: As stored in the file; 25 if the file does not say.
        length: Number of frames as stored in the file, which may be wrong; None if the file does
            not say.

    Example:
        >>> for result in predict(Video('street.mp4')):
        ...     print(result)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            what = 'is not a file' if self.path.exists() else 'does not exist'
            raise StreamError(f'The video {self.path} {what}.')
        cv2 = require_opencv('Reading videos')
        capture = cv2.VideoCapture(str(self.path))
        try:
            if not capture.isOpened() or not capture.read()[0]:
                raise StreamError(
                    f'The video {self.path} cannot be read: it is damaged, or not a video.'
                )
            rate = capture.get(cv2.CAP_PROP_FPS)
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        finally:
            capture.release()
        self.frames_per_second = rate if rate > 0 else FRAMES_PER_SECOND
        self.length = int(count) if count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        capture = require_opencv('Reading videos').VideoCapture(str(self.path))
        count = 0
        try:
            while (read := capture.read())[0]:
                count += 1
                yield np.ascontiguousarray(read[1][..., ::-1])
        finally:
            capture.release()
        if not count:
            raise StreamError(f'The video {self.path} cannot be read any more.')
        # OpenCV does not tell the end from damage, and the length in a file may be a little wrong.
        if self.length is not None and count + self.frames_per_second < self.length:
            warnings.warn(
                f'The video {self.path} ended after {count} frames, but says that it has '
                f'{self.length}: it may be damaged.',
                stacklevel=2,
            )


class VideoWriter:
    """Writes an .mp4 video frame by frame; as a context manager it closes the file.

    Args:
        path: The file.
        frames_per_second: Frame rate of the video.

    Example:
        >>> video = Video('street.mp4')
        >>> with VideoWriter('out.mp4', video.frames_per_second) as writer:
        ...     for result in predict(video):
        ...         writer.write(result.draw())
    """

    def __init__(self, path: str | Path, frames_per_second: float = FRAMES_PER_SECOND) -> None:
        self.path = Path(path)
        self.frames_per_second = frames_per_second
        self._cv2 = require_opencv('Writing videos')
        self._writer: Any = None

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame; all frames must have the size of the first.

        Args:
            frame: Shape: ``(H, W, 3)``, uint8 RGB.

        Raises:
            StreamError: The video cannot be written.
        """
        if self._writer is None:
            self._writer = self._cv2.VideoWriter(
                str(self.path),
                self._cv2.VideoWriter_fourcc(*'mp4v'),
                self.frames_per_second,
                frame.shape[1::-1],
            )
            if not self._writer.isOpened():
                raise StreamError(f'The video {self.path} cannot be written.')
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))


def output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Names of the output files of images: the stem, or the whole name if two share a stem."""
    stems = [path.stem for path in paths]
    return {path: path.stem if stems.count(path.stem) == 1 else path.name for path in paths}


def require_opencv(what: str) -> ModuleType:
    """OpenCV.

    Args:
        what: What needs it, as the start of a sentence.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingPackageError(
            f'{what} needs OpenCV, which cannot be imported here ({error}): '
            'pip install opencv-python-headless'
        ) from error
    return cv2
