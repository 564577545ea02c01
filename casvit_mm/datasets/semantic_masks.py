"""Semantic masks: the values that their pixels may have, and what other values mean.

A semantic mask holds one class index per pixel. With ``reduce_zero_label``, 0 means "other" and is
ignored, and class k is stored as k + 1, as in ADE20K. The audit of a dataset and the check before
a run ask the same functions.
"""

import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit.errors import DatasetError
from casvit.sentences import count_of, some
from casvit_mm.datasets.image_files import read_image_size
from casvit_mm.datasets.mask_files import (
    MaskContent,
    MaskHeader,
    UnreadableMaskError,
    mask_content,
    mask_header,
)

# A run keeps 8 bits of a mask, and 255 is ignored.
MOST_CLASSES = 255
# Class indices of datasets have gaps, but not everywhere and not as wide.
WIDE_GAP = 8
SHOWN_VALUES = 3


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
        return min(self.classes, MOST_CLASSES) - (not self.reduce_zero_label)

    def outside(self, values: np.ndarray) -> np.ndarray:
        """The values that are neither a class nor ignored. Shape: ``(N,) -> (M,)``."""
        return values[((values < 0) | (values > self.highest)) & (values != self.ignore_index)]

    def classes_of(self, values: Iterable[int]) -> set[int]:
        """The stored values that are classes, without "other" and ignored ones."""
        first = int(self.reduce_zero_label)
        return {v for v in values if first <= v <= self.highest and v != self.ignore_index}

    def describe(self) -> str:
        """Describes the allowed values in words."""
        first = '1' if self.reduce_zero_label else '0'
        zero = ', 0 (other)' if self.reduce_zero_label else ''
        span = f'{first} to {self.highest}' if self.classes > 1 else first
        return f'{span} ({count_of(self.classes, "class")}){zero} and {self.ignore_index} (ignored)'


@dataclass(frozen=True)
class Misread:
    """Masks whose values are probably not meant as class indices.

    Attributes:
        kind: The kind of issue, of :data:`casvit_mm.datasets.issues.KINDS`.
        detail: What they hold and what it probably means, without a subject.
        values: The values that stand for classes, in the order of the classes.
    """

    kind: str
    detail: str
    values: tuple[int, ...]


def misread(
    values: Collection[int], classes: int, ignore_index: int, *, palette: bool = False
) -> Misread | None:
    """Detects masks that hold grey levels instead of class indices.

    Args:
        values: All values in some semantic masks.
        classes: Number of known classes; values below it are class indices.
        ignore_index: The value of ignored pixels.
        palette: Whether the masks have palettes: then their values are no grey levels.

    Returns:
        What they probably mean; None for masks of class indices.
    """
    foreground = binary_foreground(values, classes, ignore_index)
    if foreground is not None and (foreground == ignore_index or not palette):
        return Misread('binary-mask', describe_binary(foreground), (0, foreground))
    ordered = sorted(values)
    if palette or not ordered or ordered[-1] < classes:
        return None
    indices = [value for value in ordered if value != ignore_index]
    if not _far_apart(indices) and not _evenly_spread(ordered):
        return None
    detail = (
        f'hold only {_listed(ordered)}: these are probably grey levels, one for each of '
        f'{len(ordered)} classes'
    )
    if ignore_index in values:
        detail += f' (or of {len(ordered) - 1}, if {ignore_index} is ignored)'
    return Misread('spread-values', detail, tuple(ordered))


def _far_apart(ordered: Sequence[int]) -> bool:
    """Whether values have wide gaps everywhere, or several equal ones."""
    gaps = np.diff(ordered)
    if len(gaps) < 2:
        return False
    equal = len(gaps) > 2 and gaps.min() > 1 and gaps.max() - gaps.min() <= 1
    return bool(gaps.min() >= WIDE_GAP or equal)


def _evenly_spread(ordered: Sequence[int]) -> bool:
    """Whether values have wide gaps of similar width."""
    gaps = np.diff(ordered)
    return bool(len(gaps) > 1 and gaps.min() >= WIDE_GAP and gaps.max() <= 2 * gaps.min())


def _listed(values: Sequence[int]) -> str:
    if len(values) > 12:
        return some(map(str, values), 12, quoted=False)
    return f'{", ".join(map(str, values[:-1]))} and {values[-1]}'


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


def nothing_to_learn(names: Collection[str]) -> str:
    """Explains why a model learns nothing from the masks of a split; empty if it may.

    A loss over classes needs two: with one, the same answer is right everywhere.

    Args:
        names: The classes that have pixels there.
    """
    if not names:
        return 'every pixel of its semantic masks is ignored'
    if len(names) == 1:
        return f'its semantic masks hold only the class {next(iter(names))!r}'
    return ''


def upright_size(path: str | Path) -> tuple[int, int]:
    """Reads the width and height of an image as loaded (upright) from its header.

    Raises:
        DatasetError: The file is missing, damaged or not an image.
    """
    what = 'is damaged or not an image'
    try:
        # Opening a pipe or a device would wait, or never end.
        if stat.S_ISREG(Path(path).stat().st_mode):
            return read_image_size(path).upright
    except FileNotFoundError:
        what = 'does not exist'
    except Exception:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        what = 'is damaged or not an image'
    raise DatasetError(f'The file {path} {what}.')


def mask_size(path: str | Path, backend: str = 'pillow') -> tuple[int, int]:
    """Reads the width and height of a semantic mask from its header.

    Args:
        path: The file.
        backend: The ``imdecode_backend`` of the run.

    Raises:
        DatasetError: The file is missing, damaged or not an image, or holds colours instead of
            class indices, or its class indices in several channels.
    """
    return index_header(path, backend).size


def index_header(path: str | Path, backend: str = 'pillow') -> MaskHeader:
    """Reads the header of a semantic mask; see :func:`mask_size`."""
    try:
        header = mask_header(path)
    except UnreadableMaskError as error:
        reason = str(error)
        if 'not an image' in reason or 'cannot be read' in reason:
            reason = 'is damaged or not an image'
        raise DatasetError(f'The file {path} {reason}.') from error
    if header.mode == 'P' and backend == 'cv2':
        raise DatasetError(
            f'The semantic mask {path} has a palette, of which imdecode_backend={backend!r} reads '
            "the colours: remove that option of LoadAnnotations, or set it to 'pillow'."
        )
    if not header.one_channel:
        raise DatasetError(
            f'The semantic mask {path} is a colour image (mode {header.mode}): expected one '
            f'channel of class indices. {_one_channel_advice(path)}'
        )
    return header


def _one_channel_advice(path: str | Path) -> str:
    try:
        mask_content(path)
    except UnreadableMaskError:
        return (
            'Convert its colours to class indices first: with a legend of the colours, `casvit '
            'finetune DATA --task semantic` and `casvit check DATA --task semantic --fix OUT` do.'
        )
    return (
        'Its channels are equal: `casvit finetune DATA --task semantic` and `casvit check DATA '
        '--task semantic --fix OUT` write it with one channel.'
    )


def check_semantic_mask(path: str | Path, allowed: LabelRange, backend: str = 'pillow') -> set[int]:
    """Reads a semantic mask and checks every value in it.

    Args:
        path: The file.
        allowed: The allowed values.
        backend: The ``imdecode_backend`` of the run.

    Returns:
        The values in the mask.

    Raises:
        DatasetError: The file cannot be read, or holds colours or values outside the classes.
    """
    content = index_content(path, backend)
    check_values(path, content, allowed)
    return set(content.counts)


def check_values(path: str | Path, content: MaskContent, allowed: LabelRange) -> None:
    """Checks the values in a semantic mask.

    Args:
        path: Its file.
        content: What it holds.
        allowed: The allowed values.

    Raises:
        DatasetError: It holds values outside the classes.
    """
    wrong = allowed.outside(np.array(sorted(content.counts), np.int64)).tolist()
    if not wrong:
        return
    found = [f'{value} in {count_of(content.counts[value], "pixel")}' for value in wrong[:3]]
    more = f' and {count_of(len(wrong) - 3, "other value")}' if len(wrong) > 3 else ''
    raise DatasetError(
        f'The semantic mask {path} has the value {", ".join(found)}{more}, outside the classes: '
        f'allowed are {allowed.describe()}.{_advice(wrong, allowed)}'
    )


def index_content(path: str | Path, backend: str = 'pillow') -> MaskContent:
    """Counts the pixels of each value in a semantic mask that a run can read.

    Args:
        path: The file.
        backend: The ``imdecode_backend`` of the run.

    Raises:
        DatasetError: The file cannot be read, or holds colours.
    """
    index_header(path, backend)
    try:
        return mask_content(path, None, backend)
    except UnreadableMaskError as error:
        raise DatasetError(f'The semantic mask {path} {error}.') from error


def describe_outside(values: Sequence[tuple[int, int]]) -> str:
    """Describes values outside the classes in words.

    Args:
        values: Each value, with its number of pixels.
    """
    found = [f'the value {value} in {number:,} pixels' for value, number in values]
    more = f' and {len(found) - SHOWN_VALUES} more' if len(found) > SHOWN_VALUES else ''
    return f'has {", ".join(found[:SHOWN_VALUES])}{more}'


def _advice(wrong: list[int], allowed: LabelRange) -> str:
    if max(wrong) > MOST_CLASSES and allowed.classes > MOST_CLASSES:
        return f' A run reads 8 bits of a mask, so it has at most {MOST_CLASSES} classes.'
    if not allowed.reduce_zero_label and wrong == [allowed.classes]:
        return (
            ' If 0 means "other" and the classes start at 1, set reduce_zero_label=True in the '
            'dataset and in LoadAnnotations.'
        )
    return ''
