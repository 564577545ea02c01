"""The data check of label maps: all that is wrong, and the facts that a person looks at."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from casvit.names import name_fault
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.images import Picture, in_parallel, look_at_picture
from casvit_mm.datasets.formats.found import MapDataset, Pair
from casvit_mm.datasets.issues import FaultList
from casvit_mm.datasets.semantic_masks import (
    INDEX_MODES,
    binary_foreground,
    said_binary,
)

# Above this share of ignored pixels a map teaches little.
MOSTLY = 0.5
SHOWN_VALUES = 3


class UnreadableMapError(Exception):
    """A semantic mask cannot be read; the message says why, for its file's name before it."""


class ColourMapError(UnreadableMapError):
    """A semantic mask holds colours, and no legend says what they mean."""


@dataclass
class MapFacts:
    """What one part of a data set of label maps holds.

    Attributes:
        pictures: Number of pictures.
        pixels: Number of pixels by class.
        maps: Number of maps that each class is in.
        ignored: Share of ignored pixels.
        sizes: Width and height of pictures in pixels. Shape: ``(pictures, 2)``.
    """

    pictures: int = 0
    pixels: dict[str, int] = field(default_factory=dict)
    maps: dict[str, int] = field(default_factory=dict)
    ignored: float = 0.0
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass
class MapCheck:
    """What the check of a data set of label maps found.

    Attributes:
        dataset: The data set.
        classes: Names of its classes.
        faults: All that is wrong.
        facts: What each part holds, by name.
        ignore_index: The value that is ignored in index maps.
        foreground: The value that stands for the second class, in masks of 0 and that value; None
            in others.
    """

    dataset: MapDataset
    classes: list[str]
    faults: FaultList
    facts: dict[str, MapFacts]
    ignore_index: int
    foreground: int | None = None

    def indices(self, labels: np.ndarray) -> np.ndarray:
        """The class of every pixel of a semantic mask, 255 for what is ignored or no class.

        Args:
            labels: As :func:`read_labels` gives them. Shape: ``(H, W)``.

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


@dataclass(frozen=True)
class _Look:
    """What was found in one pair."""

    picture: Picture | None
    map_fault: str = ''
    reason: str = ''
    size: tuple[int, int] = (0, 0)
    counts: dict[int, int] = field(default_factory=dict)
    outside: str = ''
    values: frozenset[int] = frozenset()


def check_maps(
    dataset: MapDataset,
    *,
    ignore_index: int = IGNORE_INDEX,
    read_pictures: bool = True,
    progress: bool = True,
) -> MapCheck:
    """Checks a data set of label maps.

    Args:
        dataset: The data set.
        ignore_index: The value of pixels that do not count, in index maps.
        read_pictures: Whether to read every picture and map; otherwise only whether they are there.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        All that was found; nothing is raised for faults.
    """
    faults = FaultList()
    facts = {name: MapFacts() for name in dataset.splits}
    jobs = [(name, pair) for name, pairs in dataset.splits.items() for pair in pairs]
    pairs = []
    for name, pair in jobs:
        if pair.label_map is None:
            faults.add('missing-label-map', str(pair.picture), '', 'has no label map')
        elif pair.picture is None:
            faults.add('unpaired-label-map', str(pair.label_map), '', 'has no picture')
        else:
            pairs.append((name, pair))
    for index, name in enumerate(dataset.classes):
        if fault := name_fault(name):
            where = (str(dataset.names_file or dataset.root), f'class {index}')
            faults.add('unsafe-name', *where, f'is named {name!a}, which {fault}')
    classes, foreground = list(dataset.classes), None
    if read_pictures:
        looks = _read_pairs(dataset, pairs, faults, facts, ignore_index, progress=progress)
        foreground = _foreground(dataset, looks, ignore_index)
        if foreground is not None:
            classes = _two_classes(dataset)
            _add_binary(dataset, pairs, looks, foreground, faults)
        else:
            for (_, pair), look in zip(pairs, looks, strict=True):
                _add_values(pair, look, faults)
        _count(classes, pairs, looks, foreground, facts)
        _check_presence(dataset, classes, facts, faults)
    else:
        for name, _ in pairs:
            facts[name].pictures += 1
    return MapCheck(dataset, classes, faults, facts, ignore_index, foreground)


def read_labels(
    path: Path, legend: dict[tuple[int, int, int], int] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a label map.

    Args:
        path: The file.
        legend: Index of each RGB colour; None for index maps.

    Returns:
        Class indices, 255 for colours that the legend lacks; and those colours, with the number of
        pixels of each, or None. Shapes: ``(H, W)`` and ``(N, 4)``.

    Raises:
        UnreadableMapError: It cannot be read.
        ColourMapError: It holds colours, and there is no legend.
    """
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            pixels = np.asarray(picture if legend is None else picture.convert('RGB'))
    except UnidentifiedImageError as error:
        raise UnreadableMapError('is no picture') from error
    except Exception as error:
        # Pillow's parsers raise anything for a damaged file.
        raise UnreadableMapError(f'cannot be read: {error}') from error
    pixels = pixels.astype(np.int64)
    if legend is None:
        if mode not in INDEX_MODES:
            raise ColourMapError(f'is a colour picture (mode {mode})')
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
    dataset: MapDataset,
    pairs: list[tuple[str, Pair]],
    faults: FaultList,
    facts: dict[str, MapFacts],
    ignore_index: int,
    *,
    progress: bool,
) -> list[_Look]:
    """Reads all images and semantic masks, and adds what is wrong with the files."""
    number = len(dataset.classes)
    found = []
    first: dict[str, tuple[str, Path]] = {}
    looks: Iterator[_Look] = in_parallel(
        lambda job: _look(job[1], dataset.legend, number, ignore_index), pairs
    )
    bar = tqdm(looks, total=len(pairs), desc='reading label maps', unit='map', disable=not progress)
    for (name, pair), look in zip(pairs, bar, strict=True):
        found.append(look)
        facts[name].pictures += 1
        picture, label_map = str(pair.picture), str(pair.label_map)
        if look.picture.fault:
            faults.add(look.picture.fault, picture, '', look.picture.reason)
        elif look.picture.orientation != 1:
            detail = f'is turned by EXIF orientation {look.picture.orientation}'
            faults.add('rotated-picture', picture, '', detail)
        if look.map_fault:
            faults.add(look.map_fault, label_map, '', look.reason)
            continue
        upright = look.picture.upright
        if upright not in ((0, 0), look.size):
            detail = (
                f'is {look.size[0]}x{look.size[1]} pixels, its picture {upright[0]}x{upright[1]}'
            )
            faults.add('label-map-size', label_map, '', detail)
        if look.picture.digest:
            other = first.setdefault(look.picture.digest, (name, pair.picture))
            if other[0] != name:
                # Of the part that is read first, to train on: the other may be taken for granted.
                detail = f'is also in {name}, as {picture}'
                faults.add('same-picture', str(other[1]), '', detail)
    return found


def _foreground(dataset: MapDataset, looks: list[_Look], ignore_index: int) -> int | None:
    """The value of the foreground in masks of 0 and another value, or None."""
    if dataset.legend is not None:
        return None
    named = len(dataset.classes) if dataset.names_file else 0
    values = frozenset().union(*(look.values for look in looks))
    return binary_foreground(values, named, ignore_index)


def _two_classes(dataset: MapDataset) -> list[str]:
    """Names of background and foreground, as far as the dataset has them."""
    if dataset.names_file is None:
        return ['background', 'foreground']
    return list(dataset.classes) if len(dataset.classes) > 1 else ['background', *dataset.classes]


def _add_binary(
    dataset: MapDataset,
    pairs: list[tuple[str, Pair]],
    looks: list[_Look],
    foreground: int,
    faults: FaultList,
) -> None:
    files = [
        pair.label_map
        for (_, pair), look in zip(pairs, looks, strict=True)
        if foreground in look.values
    ]
    number = sum(1 for look in looks if look.values)
    detail = f'is one of {number:,} semantic masks that {said_binary(foreground)}'
    faults.add('binary-mask', str(files[0]), '', detail)


def _add_values(pair: Pair, look: _Look, faults: FaultList) -> None:
    if look.map_fault:
        return
    if look.outside:
        faults.add('label-value', str(pair.label_map), '', look.outside)
    total, ignored = sum(look.counts.values()), look.counts.get(IGNORE_INDEX, 0)
    if total and ignored / total > MOSTLY:
        share = f'{100 * ignored / total:.0f} % of its pixels are ignored'
        faults.add('mostly-ignored', str(pair.label_map), '', share)


def _count(
    classes: list[str],
    pairs: list[tuple[str, Pair]],
    looks: list[_Look],
    foreground: int | None,
    facts: dict[str, MapFacts],
) -> None:
    """Counts pixels by class, as they are if the foreground of binary masks is class 1."""
    for part, fact in facts.items():
        own = [
            look
            for (name, _), look in zip(pairs, looks, strict=True)
            if name == part and not look.map_fault
        ]
        pixels: Counter[int] = Counter()
        maps: Counter[int] = Counter()
        for look in own:
            counts = look.counts
            if foreground is not None:
                background = counts.get(0, 0)
                counts = {0: background, 1: sum(counts.values()) - background}
            pixels.update(counts)
            maps.update(value for value, number in counts.items() if number)
        fact.sizes = np.array([look.size for look in own], float).reshape(-1, 2)
        fact.ignored = pixels.pop(IGNORE_INDEX, 0) / max(1, pixels.total())
        maps.pop(IGNORE_INDEX, 0)
        fact.pixels = {name: pixels[index] for index, name in enumerate(classes)}
        fact.maps = {name: maps[index] for index, name in enumerate(classes)}


def _look(
    pair: Pair,
    legend: dict[tuple[int, int, int], int] | None,
    classes: int,
    ignore_index: int,
) -> _Look:
    picture = look_at_picture(pair.picture)
    try:
        labels, unknown = read_labels(pair.label_map, legend)
    except ColourMapError as error:
        return _Look(picture, 'colour-map', str(error))
    except UnreadableMapError as error:
        return _Look(picture, 'unreadable-label-map', str(error))
    size = (labels.shape[1], labels.shape[0])
    held = frozenset()
    if legend is None:
        held = frozenset(np.unique(labels).tolist())
        ignored = labels == ignore_index
        # A run reads 8 bits, of which 255 is ignored whatever it is the name of.
        outside = ((labels < 0) | (labels >= min(classes, IGNORE_INDEX))) & ~ignored
        values, counts = np.unique(labels[outside], return_counts=True)
        found = [f'the value {v} in {n:,} pixels' for v, n in zip(values, counts, strict=True)]
        labels = np.where(outside | ignored, IGNORE_INDEX, labels)
        highest = min(classes, IGNORE_INDEX) - 1
        allowed = f'; allowed are 0 to {highest}, and {ignore_index} for what is ignored'
    else:
        found = [f'the colour ({r}, {g}, {b}) in {n:,} pixels' for r, g, b, n in unknown.tolist()]
        allowed = ', which the legend does not have'
    numbers = np.bincount(labels.ravel())
    counts = {int(value): int(numbers[value]) for value in np.flatnonzero(numbers)}
    said = ''
    if found:
        more = f' and {len(found) - SHOWN_VALUES} more' if len(found) > SHOWN_VALUES else ''
        said = f'has {", ".join(found[:SHOWN_VALUES])}{more}{allowed}'
    return _Look(picture, '', '', size, counts, said, held)


def _check_presence(
    dataset: MapDataset, classes: list[str], facts: dict[str, MapFacts], faults: FaultList
) -> None:
    for name in classes:
        present = {part for part, fact in facts.items() if fact.pixels.get(name)}
        where = (str(dataset.root), f'class {name!r}')
        if not present:
            faults.add('unused-class', *where, 'has no pixel')
            continue
        for part in facts:
            if part not in present:
                faults.add('absent-class', *where, f'has no pixel in {part}')
