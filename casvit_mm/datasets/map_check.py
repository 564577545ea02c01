"""The data check of label maps: all that is wrong, and the facts that a person looks at."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from casvit_mm.datasets.faults import FaultList
from casvit_mm.datasets.formats.found import MapDataset, Pair
from casvit_mm.datasets.label_maps import IGNORED, INDEX_MODES
from casvit_mm.datasets.picture_faults import Picture, in_parallel, look_at_picture

# Above this share of ignored pixels a map teaches little.
MOSTLY = 0.5
SHOWN_VALUES = 3


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
    """

    dataset: MapDataset
    classes: list[str]
    faults: FaultList
    facts: dict[str, MapFacts]
    ignore_index: int


@dataclass(frozen=True)
class _Look:
    """What was found in one pair."""

    picture: Picture | None
    map_fault: str = ''
    reason: str = ''
    size: tuple[int, int] = (0, 0)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    outside: str = ''


def check_maps(
    dataset: MapDataset,
    *,
    ignore_index: int = IGNORED,
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
    if read_pictures:
        _read_pairs(dataset, pairs, faults, facts, ignore_index, progress=progress)
    else:
        for name, _ in pairs:
            facts[name].pictures += 1
    return MapCheck(dataset, dataset.classes, faults, facts, ignore_index)


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
        OSError: It cannot be read.
        ValueError: It holds colours, and there is no legend.
    """
    with Image.open(path) as picture:
        if legend is None:
            if picture.mode not in INDEX_MODES:
                raise ValueError(f'is a colour picture (mode {picture.mode})')
            return np.asarray(picture).astype(np.int64), None
        pixels = np.asarray(picture.convert('RGB')).astype(np.int64)
    codes = pixels @ (65536, 256, 1)
    known = np.array([r * 65536 + g * 256 + b for r, g, b in legend], np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    fits = known[order][place] == codes
    labels = np.where(fits, np.array(list(legend.values()))[order][place], IGNORED)
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
) -> None:
    number = len(dataset.classes)
    sizes: dict[str, list[tuple[int, int]]] = {name: [] for name in facts}
    pixels = {name: np.zeros(256, np.int64) for name in facts}
    maps = {name: np.zeros(256, np.int64) for name in facts}
    first: dict[str, tuple[str, Path]] = {}
    looks: Iterator[_Look] = in_parallel(
        lambda job: _look(job[1], dataset.legend, number, ignore_index), pairs
    )
    bar = tqdm(looks, total=len(pairs), desc='reading label maps', unit='map', disable=not progress)
    for (name, pair), look in zip(pairs, bar, strict=True):
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
        if look.outside:
            faults.add('label-value', label_map, '', look.outside)
        total = int(look.counts.sum())
        ignored = int(look.counts[IGNORED])
        if total and ignored / total > MOSTLY:
            share = f'{100 * ignored / total:.0f} % of its pixels are ignored'
            faults.add('mostly-ignored', label_map, '', share)
        sizes[name].append(look.size)
        pixels[name] += look.counts
        maps[name] += look.counts > 0
        if look.picture.digest:
            other = first.setdefault(look.picture.digest, (name, pair.picture))
            if other[0] != name:
                # Of the part that is read first, to train on: the other may be taken for granted.
                detail = f'is also in {name}, as {picture}'
                faults.add('same-picture', str(other[1]), '', detail)
    for name, fact in facts.items():
        fact.sizes = np.array(sizes[name], float).reshape(-1, 2)
        fact.pixels = dict(zip(dataset.classes, pixels[name][:number].tolist(), strict=True))
        fact.maps = dict(zip(dataset.classes, maps[name][:number].tolist(), strict=True))
        fact.ignored = float(pixels[name][IGNORED] / max(1, pixels[name].sum()))
    _check_presence(dataset, facts, faults)


def _look(
    pair: Pair,
    legend: dict[tuple[int, int, int], int] | None,
    classes: int,
    ignore_index: int,
) -> _Look:
    picture = look_at_picture(pair.picture)
    try:
        labels, unknown = read_labels(pair.label_map, legend)
    except ValueError as error:
        return _Look(picture, 'colour-map', str(error))
    except UnidentifiedImageError:
        return _Look(picture, 'unreadable-label-map', 'is no picture')
    except (OSError, SyntaxError, EOFError) as error:
        return _Look(picture, 'unreadable-label-map', f'cannot be read: {error}')
    size = (labels.shape[1], labels.shape[0])
    if legend is None:
        ignored = labels == ignore_index
        outside = ((labels < 0) | (labels >= classes)) & ~ignored
        values, counts = np.unique(labels[outside], return_counts=True)
        found = [f'the value {v} in {n:,} pixels' for v, n in zip(values, counts, strict=True)]
        labels = np.where(outside | ignored, IGNORED, labels)
        allowed = f'; allowed are 0 to {classes - 1}, and {ignore_index} for what is ignored'
    else:
        found = [f'the colour ({r}, {g}, {b}) in {n:,} pixels' for r, g, b, n in unknown.tolist()]
        allowed = ', which the legend does not have'
    counts = np.bincount(labels.ravel(), minlength=256)
    said = ''
    if found:
        more = f' and {len(found) - SHOWN_VALUES} more' if len(found) > SHOWN_VALUES else ''
        said = f'has {", ".join(found[:SHOWN_VALUES])}{more}{allowed}'
    return _Look(picture, '', '', size, counts, said)


def _check_presence(dataset: MapDataset, facts: dict[str, MapFacts], faults: FaultList) -> None:
    for name in dataset.classes:
        present = {part for part, fact in facts.items() if fact.pixels.get(name)}
        where = (str(dataset.root), f'class {name!r}')
        if not present:
            faults.add('unused-class', *where, 'has no pixel')
            continue
        for part in facts:
            if part not in present:
                faults.add('absent-class', *where, f'has no pixel in {part}')
