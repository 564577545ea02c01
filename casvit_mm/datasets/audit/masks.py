"""The audit of a dataset with semantic masks: its issues and statistics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from casvit.names import name_issue
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.images import ImageFile, in_parallel, inspect_image
from casvit_mm.datasets.formats.dataset import MaskDataset
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.semantic_masks import (
    INDEX_MODES,
    binary_foreground,
    describe_binary,
)

# Above this share of ignored pixels there is little to learn from a mask.
MOSTLY = 0.5
SHOWN_VALUES = 3


class UnreadableMaskError(Exception):
    """A semantic mask cannot be read; the message is the reason, without a subject."""


class ColourMaskError(UnreadableMaskError):
    """A semantic mask holds colours, and there is no legend for them."""


@dataclass
class MaskFacts:
    """Statistics of one split of a dataset with semantic masks.

    Attributes:
        images: Number of images.
        pixels: Number of pixels by class.
        masks: Number of semantic masks that contain each class.
        ignored: Share of ignored pixels.
        sizes: Widths and heights of the images in pixels. Shape: ``(images, 2)``.
    """

    images: int = 0
    pixels: dict[str, int] = field(default_factory=dict)
    masks: dict[str, int] = field(default_factory=dict)
    ignored: float = 0.0
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass
class MaskAudit:
    """The audit of a dataset with semantic masks.

    Attributes:
        dataset: The dataset.
        classes: Names of its classes.
        issues: All issues found.
        facts: Statistics by split.
        ignore_index: The ignored value in masks of class indices.
        foreground: The value that stands for the second class, if masks hold only 0 and that
            value; None otherwise.
    """

    dataset: MaskDataset
    classes: list[str]
    issues: IssueList
    facts: dict[str, MaskFacts]
    ignore_index: int
    foreground: int | None = None

    def indices(self, labels: np.ndarray) -> np.ndarray:
        """Class index of every pixel; 255 for ignored pixels and those outside the classes.

        Args:
            labels: As returned by :func:`read_labels`. Shape: ``(H, W)``.

        Returns:
            Shape: ``(H, W)``, uint8.
        """
        if self.foreground is not None:
            return (labels == self.foreground).astype(np.uint8)
        if self.dataset.legend is None:
            number = min(len(self.classes), IGNORE_INDEX)
            outside = (labels < 0) | (labels >= number) | (labels == self.ignore_index)
            labels = np.where(outside, IGNORE_INDEX, labels)
        return labels.astype(np.uint8)


class _Pair(NamedTuple):
    """An image and its semantic mask, neither of which is missing."""

    split: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class _PairResult:
    """Findings for one pair."""

    image: ImageFile
    mask_issue: str = ''
    reason: str = ''
    size: tuple[int, int] = (0, 0)
    counts: dict[int, int] = field(default_factory=dict)
    outside: str = ''
    values: frozenset[int] = frozenset()


def audit_masks(
    dataset: MaskDataset,
    *,
    ignore_index: int = IGNORE_INDEX,
    read_images: bool = True,
    progress: bool = True,
) -> MaskAudit:
    """Audits a dataset with semantic masks.

    Args:
        dataset: The dataset.
        ignore_index: The value of ignored pixels in masks of class indices.
        read_images: Whether to read every image and mask, instead of only checking that both of a
            pair exist.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        The audit; nothing is raised for issues.
    """
    issues = IssueList()
    facts = {name: MaskFacts() for name in dataset.splits}
    listed = [(name, entry) for name, entries in dataset.splits.items() for entry in entries]
    pairs = []
    for name, entry in listed:
        if entry.mask is None:
            issues.add('missing-label-map', str(entry.image), '', 'has no semantic mask')
        elif entry.image is None:
            issues.add('unpaired-label-map', str(entry.mask), '', 'has no image')
        else:
            pairs.append(_Pair(name, entry.image, entry.mask))
    for index, name in enumerate(dataset.classes):
        if issue := name_issue(name):
            where = (str(dataset.names_file or dataset.root), f'class {index}')
            issues.add('unsafe-name', *where, f'is named {name!a}, which {issue}')
    classes, foreground = list(dataset.classes), None
    if read_images:
        results = _read_pairs(dataset, pairs, issues, facts, ignore_index, progress=progress)
        foreground = _foreground(dataset, results, ignore_index)
        if foreground is not None:
            classes = _two_classes(dataset)
            _add_binary(dataset, pairs, results, foreground, issues)
        else:
            for pair, result in zip(pairs, results, strict=True):
                _add_values(pair, result, issues)
        _count(classes, pairs, results, foreground, facts)
        _check_presence(dataset, classes, facts, issues)
    else:
        for pair in pairs:
            facts[pair.split].images += 1
    return MaskAudit(dataset, classes, issues, facts, ignore_index, foreground)


def read_labels(
    path: Path, legend: dict[tuple[int, int, int], int] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a semantic mask.

    Args:
        path: The file.
        legend: Class index of each RGB colour; None for masks of class indices.

    Returns:
        Class indices, 255 for colours that are not in the legend; and those colours with their
        numbers of pixels, or None without a legend. Shapes: ``(H, W)`` and ``(N, 4)``.

    Raises:
        UnreadableMaskError: The file cannot be read.
        ColourMaskError: The mask holds colours, and there is no legend.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image if legend is None else image.convert('RGB'))
    except UnidentifiedImageError as error:
        raise UnreadableMaskError('is not an image') from error
    except Exception as error:
        # Pillow's parsers raise all kinds of exceptions for a damaged file.
        raise UnreadableMaskError(f'cannot be read: {error}') from error
    pixels = pixels.astype(np.int64)
    if legend is None:
        if mode not in INDEX_MODES:
            raise ColourMaskError(f'is a colour image (mode {mode})')
        return pixels, None
    codes = pixels @ (65536, 256, 1)
    known = np.array([r * 65536 + g * 256 + b for r, g, b in legend], np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    fits = known[order][place] == codes
    labels = np.where(fits, np.array(list(legend.values()))[order][place], IGNORE_INDEX)
    values, counts = np.unique(codes[~fits], return_counts=True)
    colours = np.stack([values >> 16, values >> 8 & 255, values & 255, counts], axis=1)
    return labels, colours[np.argsort(-counts)]


def _read_pairs(
    dataset: MaskDataset,
    pairs: list[_Pair],
    issues: IssueList,
    facts: dict[str, MaskFacts],
    ignore_index: int,
    *,
    progress: bool,
) -> list[_PairResult]:
    """Reads all images and semantic masks, and adds the issues of the files."""
    number = len(dataset.classes)
    found = []
    first: dict[str, tuple[str, Path]] = {}
    results: Iterator[_PairResult] = in_parallel(
        lambda pair: _inspect_pair(pair, dataset.legend, number, ignore_index), pairs
    )
    bar = tqdm(
        results, total=len(pairs), desc='reading semantic masks', unit='mask', disable=not progress
    )
    for pair, result in zip(pairs, bar, strict=True):
        found.append(result)
        facts[pair.split].images += 1
        image, mask = str(pair.image), str(pair.mask)
        if result.image.issue:
            issues.add(result.image.issue, image, '', result.image.reason)
        elif result.image.orientation != 1:
            detail = f'is rotated by EXIF orientation {result.image.orientation}'
            issues.add('rotated-picture', image, '', detail)
        if result.mask_issue:
            issues.add(result.mask_issue, mask, '', result.reason)
            continue
        upright = result.image.upright
        if upright not in ((0, 0), result.size):
            (width, height), (image_width, image_height) = result.size, upright
            detail = f'is {width}x{height} pixels, its image {image_width}x{image_height}'
            issues.add('label-map-size', mask, '', detail)
        if result.image.digest:
            other = first.setdefault(result.image.digest, (pair.split, pair.image))
            if other[0] != pair.split:
                # The copy in the first split (training) is at fault, not the one that evaluates.
                detail = f'is also in {pair.split}, as {image}'
                issues.add('same-picture', str(other[1]), '', detail)
    return found


def _foreground(dataset: MaskDataset, results: list[_PairResult], ignore_index: int) -> int | None:
    """The foreground value of masks that hold only 0 and that value, or None."""
    if dataset.legend is not None:
        return None
    named = len(dataset.classes) if dataset.names_file else 0
    values = frozenset().union(*(result.values for result in results))
    return binary_foreground(values, named, ignore_index)


def _two_classes(dataset: MaskDataset) -> list[str]:
    """Names of background and foreground, from the dataset if it has any."""
    if dataset.names_file is None:
        return ['background', 'foreground']
    return list(dataset.classes) if len(dataset.classes) > 1 else ['background', *dataset.classes]


def _add_binary(
    dataset: MaskDataset,
    pairs: list[_Pair],
    results: list[_PairResult],
    foreground: int,
    issues: IssueList,
) -> None:
    files = [
        pair.mask
        for pair, result in zip(pairs, results, strict=True)
        if foreground in result.values
    ]
    number = sum(1 for result in results if result.values)
    detail = f'is one of {number:,} semantic masks that {describe_binary(foreground)}'
    issues.add('binary-mask', str(files[0]), '', detail)


def _add_values(pair: _Pair, result: _PairResult, issues: IssueList) -> None:
    if result.mask_issue:
        return
    if result.outside:
        issues.add('label-value', str(pair.mask), '', result.outside)
    total, ignored = sum(result.counts.values()), result.counts.get(IGNORE_INDEX, 0)
    if total and ignored / total > MOSTLY:
        share = f'{100 * ignored / total:.0f} % of its pixels are ignored'
        issues.add('mostly-ignored', str(pair.mask), '', share)


def _count(
    classes: list[str],
    pairs: list[_Pair],
    results: list[_PairResult],
    foreground: int | None,
    facts: dict[str, MaskFacts],
) -> None:
    """Counts pixels by class; the foreground of binary masks counts as class 1."""
    for split, fact in facts.items():
        own = [
            result
            for pair, result in zip(pairs, results, strict=True)
            if pair.split == split and not result.mask_issue
        ]
        pixels: Counter[int] = Counter()
        masks: Counter[int] = Counter()
        for result in own:
            counts = result.counts
            if foreground is not None:
                background = counts.get(0, 0)
                counts = {0: background, 1: sum(counts.values()) - background}
            pixels.update(counts)
            masks.update(value for value, number in counts.items() if number)
        fact.sizes = np.array([result.size for result in own], float).reshape(-1, 2)
        fact.ignored = pixels.pop(IGNORE_INDEX, 0) / max(1, pixels.total())
        masks.pop(IGNORE_INDEX, 0)
        fact.pixels = {name: pixels[index] for index, name in enumerate(classes)}
        fact.masks = {name: masks[index] for index, name in enumerate(classes)}


def _inspect_pair(
    pair: _Pair,
    legend: dict[tuple[int, int, int], int] | None,
    classes: int,
    ignore_index: int,
) -> _PairResult:
    image = inspect_image(pair.image)
    try:
        labels, unknown = read_labels(pair.mask, legend)
    except ColourMaskError as error:
        return _PairResult(image, 'colour-map', str(error))
    except UnreadableMaskError as error:
        return _PairResult(image, 'unreadable-label-map', str(error))
    size = (labels.shape[1], labels.shape[0])
    held: frozenset[int] = frozenset()
    if unknown is None:
        held = frozenset(np.unique(labels).tolist())
        ignored = labels == ignore_index
        # A run reads 8 bits, of which 255 is always ignored.
        outside = ((labels < 0) | (labels >= min(classes, IGNORE_INDEX))) & ~ignored
        values, times = np.unique(labels[outside], return_counts=True)
        found = [f'the value {v} in {n:,} pixels' for v, n in zip(values, times, strict=True)]
        labels = np.where(outside | ignored, IGNORE_INDEX, labels)
        highest = min(classes, IGNORE_INDEX) - 1
        allowed = f'; allowed are 0 to {highest}, and {ignore_index} for ignored pixels'
    else:
        found = [f'the colour ({r}, {g}, {b}) in {n:,} pixels' for r, g, b, n in unknown.tolist()]
        allowed = ', which the legend does not list'
    numbers = np.bincount(labels.ravel())
    counts = {int(value): int(numbers[value]) for value in np.flatnonzero(numbers)}
    detail = ''
    if found:
        more = f' and {len(found) - SHOWN_VALUES} more' if len(found) > SHOWN_VALUES else ''
        detail = f'has {", ".join(found[:SHOWN_VALUES])}{more}{allowed}'
    return _PairResult(image, '', '', size, counts, detail, held)


def _check_presence(
    dataset: MaskDataset, classes: list[str], facts: dict[str, MaskFacts], issues: IssueList
) -> None:
    for name in classes:
        present = {split for split, fact in facts.items() if fact.pixels.get(name)}
        where = (str(dataset.root), f'class {name!r}')
        if not present:
            issues.add('unused-class', *where, 'has no pixels')
            continue
        for split in facts:
            if split not in present:
                issues.add('absent-class', *where, f'has no pixels in {split}')
