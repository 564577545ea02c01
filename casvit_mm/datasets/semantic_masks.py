"""Semantic masks: the values that their pixels may have, and those that they have.

A semantic mask holds one class index per pixel. With ``reduce_zero_label``, 0 means "other" and is
ignored, and class k is stored as k + 1, as in ADE20K.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from casvit.errors import DatasetError
from casvit.sentences import count_of
from casvit_mm.datasets.image_files import image_size

INDEX_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16B')

Result = TypeVar('Result')


@dataclass(frozen=True)
class LabelRange:
    """The values that the pixels of a semantic mask may have.

    Attributes:
        classes: Number of classes in the masks.
        reduce_zero_label: Whether 0 means "other" and the classes start at 1.
        ignore_index: The value of ignored pixels.
    """

    classes: int
    reduce_zero_label: bool = False
    ignore_index: int = 255

    @property
    def highest(self) -> int:
        """The highest class index."""
        return self.classes - (not self.reduce_zero_label)

    def outside(self, values: np.ndarray) -> np.ndarray:
        """The values that are neither a class nor ignored. Shape: ``(N,) -> (M,)``."""
        return values[((values < 0) | (values > self.highest)) & (values != self.ignore_index)]

    def describe(self) -> str:
        """Describes the allowed values in words."""
        first = '1' if self.reduce_zero_label else '0'
        zero = ', 0 (other)' if self.reduce_zero_label else ''
        span = f'{first} to {self.highest}' if self.classes > 1 else first
        return f'{span} ({count_of(self.classes, "class")}){zero} and {self.ignore_index} (ignored)'


def binary_foreground(values: Iterable[int], classes: int, ignore_index: int) -> int | None:
    """Detects masks that hold only 0 and one other value than 1, and returns that value.

    Image editors write 255 or 128 for the foreground. As class indices these are ignored, or out of
    range.

    Args:
        values: All values in some semantic masks.
        classes: Number of known classes; values below it are class indices.
        ignore_index: The value of ignored pixels.

    Returns:
        The value of the foreground; None for any other masks.
    """
    others = set(values) - {0}
    if len(others) != 1 or 0 not in values:
        return None
    (value,) = others
    means_a_class = value < classes and value != ignore_index
    return None if value <= 1 or means_a_class else value


def describe_binary(value: int) -> str:
    """Explains masks with such a foreground, without a subject."""
    return (
        f'hold only 0 and {value}: these are probably masks of two classes in which {value} is '
        'the foreground (not ignored), and no mask has class 1'
    )


def upright_size(path: str | Path) -> tuple[int, int]:
    """Reads the width and height of an image as loaded (upright) from its header.

    Raises:
        DatasetError: The file is missing, damaged or not an image.
    """
    return _read(path, image_size).upright


def mask_size(path: str | Path) -> tuple[int, int]:
    """Reads the width and height of a semantic mask from its header.

    Raises:
        DatasetError: The file is missing, damaged or not an image, or holds colours instead of
            class indices.
    """
    mode, size = _read(path, lambda image, _: (image.mode, image.size))
    if mode not in INDEX_MODES:
        raise DatasetError(
            f'The semantic mask {path} is a colour image (mode {mode}): expected one channel '
            'of class indices. Convert its colours to class indices first.'
        )
    return size


def check_semantic_mask(path: str | Path, allowed: LabelRange) -> set[int]:
    """Reads a semantic mask and checks every value in it.

    Args:
        path: The file.
        allowed: The allowed values.

    Returns:
        The values in the mask.

    Raises:
        DatasetError: The file cannot be read, or holds colours or values outside the classes.
    """
    values, counts = pixel_values(path)
    wrong = allowed.outside(values)
    if not len(wrong):
        return set(values.tolist())
    found = [
        f'{value} in {count_of(int(counts[values == value][0]), "pixel")}' for value in wrong[:3]
    ]
    more = f' and {count_of(len(wrong) - 3, "other value")}' if len(wrong) > 3 else ''
    raise DatasetError(
        f'The semantic mask {path} has the value {", ".join(found)}{more}, outside the classes: '
        f'allowed are {allowed.describe()}.{_advice(wrong, allowed)}'
    )


def pixel_values(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Counts the pixels of each value in a semantic mask.

    Args:
        path: The file.

    Returns:
        Values in ascending order, and their counts. Shapes: ``(N,)`` and ``(N,)``.

    Raises:
        DatasetError: The file cannot be read, or holds colours.
    """
    mask_size(path)
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except Exception as error:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        raise DatasetError(f'The semantic mask {path} is damaged: {error}.') from error
    return np.unique(labels.astype(np.int64), return_counts=True)


def _advice(wrong: np.ndarray, allowed: LabelRange) -> str:
    if not allowed.reduce_zero_label and wrong.tolist() == [allowed.classes]:
        return (
            ' If 0 means "other" and the classes start at 1, set reduce_zero_label=True in the '
            'dataset and in LoadAnnotations.'
        )
    return ''


def _read(path: str | Path, ask: Callable[[Image.Image, BinaryIO], Result]) -> Result:
    """Applies a function to an image file while it is open, since its header is lost later."""
    try:
        with Path(path).open('rb') as file, Image.open(file) as image:
            return ask(image, file)
    except Exception as error:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        what = 'is damaged or not an image'
        if isinstance(error, FileNotFoundError):
            what = 'does not exist'
        raise DatasetError(f'The file {path} {what}.') from error
