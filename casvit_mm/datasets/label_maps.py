"""Label maps of semantic segmentation: what may stand in their pixels, and what does.

A map holds one class index per pixel. With ``reduce_zero_label`` its 0 means "other" and is
ignored, and class k is stored as k + 1, as in ADE20K.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from casvit_mm.datasets.errors import DatasetError
from casvit_mm.datasets.sentences import count_of

IGNORED = 255
INDEX_MODES = ('1', 'L', 'P', 'I', 'I;16')


@dataclass(frozen=True)
class LabelRange:
    """The values that a label map may hold.

    Attributes:
        classes: Number of classes that are stored.
        reduce_zero_label: Whether 0 means "other" and the classes start at 1.
        ignore_index: The value of pixels that do not count.
    """

    classes: int
    reduce_zero_label: bool = False
    ignore_index: int = 255

    @property
    def highest(self) -> int:
        """The highest value of a class."""
        return self.classes - (not self.reduce_zero_label)

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Those of some values that are neither a class nor ignored. Shape: ``(N,) -> (M,)``."""
        return values[((values < 0) | (values > self.highest)) & (values != self.ignore_index)]

    def describe(self) -> str:
        """The allowed values, in words."""
        first = '1' if self.reduce_zero_label else '0'
        zero = ', 0 (other)' if self.reduce_zero_label else ''
        span = f'{first} to {self.highest}' if self.classes > 1 else first
        return f'{span} ({count_of(self.classes, "class")}){zero} and {self.ignore_index} (ignored)'


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture as it is loaded, upright, from its header alone.

    Raises:
        DatasetError: It is no picture, or damaged.
    """
    header = _open(path)
    lying = header.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return header.size[::-1] if lying else header.size


def label_map_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a label map, from its header alone.

    Raises:
        DatasetError: It is no picture, or it holds colours instead of class indices.
    """
    header = _open(path)
    if header.mode not in INDEX_MODES:
        raise DatasetError(
            f'The label map {path} is a colour picture (mode {header.mode}): expected one channel '
            'of class indices. Colours have to be converted by their legend first.'
        )
    return header.size


def check_label_map(path: str | Path, allowed: LabelRange) -> set[int]:
    """Reads a label map and looks at every value in it.

    Args:
        path: The file.
        allowed: What it may hold.

    Returns:
        The values that it holds.

    Raises:
        DatasetError: It cannot be read, holds colours, or values outside the classes.
    """
    label_map_size(path)
    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture)
    except OSError as error:
        raise DatasetError(f'The label map {path} is damaged: {error}.') from error
    values, counts = np.unique(labels.astype(np.int64), return_counts=True)
    wrong = allowed.outside(values)
    if not len(wrong):
        return set(values.tolist())
    found = [
        f'{value} in {count_of(int(counts[values == value][0]), "pixel")}' for value in wrong[:3]
    ]
    more = f' and {count_of(len(wrong) - 3, "other value")}' if len(wrong) > 3 else ''
    raise DatasetError(
        f'The label map {path} has the value {", ".join(found)}{more}, outside the classes: '
        f'allowed are {allowed.describe()}.{_advice(wrong, allowed)}'
    )


def _advice(wrong: np.ndarray, allowed: LabelRange) -> str:
    if not allowed.reduce_zero_label and wrong.tolist() == [allowed.classes]:
        return (
            ' Where its 0 means "other" and the classes start at 1, set reduce_zero_label=True in '
            'the data set and in LoadAnnotations.'
        )
    return ''


def _open(path: str | Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture
    except (UnidentifiedImageError, OSError) as error:
        what = 'is no picture, or damaged'
        if isinstance(error, FileNotFoundError):
            what = 'does not exist'
        raise DatasetError(f'The file {path} {what}.') from error
