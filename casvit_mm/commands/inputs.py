"""What image_demo is given: images, folders of them, videos."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np

from casvit.errors import CliError

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


def find_inputs(source: Path) -> list[Path]:
    """The images that an input stands for; none where it is a video.

    Args:
        source: A file or folder.

    Raises:
        CliError: It does not exist, is of an unknown kind, or has no image in it.
    """
    if not source.exists():
        raise CliError(f'The input {source} does not exist.')
    if source.is_dir():
        images = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGES)
        if not images:
            raise CliError(f'The folder {source} has no image in it ({", ".join(IMAGES)}).')
        return images
    if source.suffix.lower() in IMAGES:
        return [source]
    if source.suffix.lower() in VIDEOS:
        return []
    raise CliError(
        f'The input {source} is of an unknown kind. Images: {", ".join(IMAGES)}; videos: '
        f'{", ".join(VIDEOS)}.'
    )


def read_image(path: Path) -> np.ndarray:
    """Reads an image as BGR.

    Args:
        path: The file.

    Returns:
        The picture. Shape: ``(H, W, 3)``, uint8.

    Raises:
        CliError: It cannot be read.
    """
    try:
        if not path.is_file():
            # To read a pipe would wait for ever.
            what = 'is a folder' if path.is_dir() else 'is not a file'
            raise CliError(f'The image {path} cannot be read: it {what}.')
        if not path.stat().st_size:
            raise CliError(f'The image {path} cannot be read: it is empty.')
        image = mmcv.imread(str(path))
    except OSError as error:
        reason = error.strerror or error
        raise CliError(f'The image {path} cannot be read: {reason}.') from error
    except cv2.error as error:
        reason = error.err or 'it is damaged'
        raise CliError(f'The image {path} cannot be read: {reason}.') from error
    if image is None:
        raise CliError(f'The image {path} cannot be read: it is damaged, or no image.')
    return image


def batches(video: mmcv.VideoReader, size: int) -> Iterator[list[np.ndarray]]:
    """The frames of a video, some at a time."""
    frames = []
    for frame in video:
        # The frame count in a video's header may be more than it holds.
        if frame is None:
            break
        frames.append(frame)
        if len(frames) == size:
            yield frames
            frames = []
    if frames:
        yield frames


def output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """The stem of every image, and its whole name where two share a stem."""
    stems = [path.stem for path in paths]
    return {path: path.stem if stems.count(path.stem) == 1 else path.name for path in paths}
