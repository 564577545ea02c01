"""Lists of the images of each split: ``ImageSets/Segmentation/train.txt``, ``splits/val.txt``."""

import re
from collections.abc import Iterable
from pathlib import Path

from casvit.names import read_lines
from casvit.sentences import count_of
from casvit.tables import SPLITS
from casvit_mm.datasets.formats.dataset import SPLIT_NAMES, Pair
from casvit_mm.datasets.formats.folders import IMAGES

FOLDERS = ('ImageSets/Segmentation', 'ImageSets', 'splits', 'split', 'lists', '.')
Splits = dict[str, list[Pair]]


def find_lists(root: Path, masks: Iterable[Path]) -> dict[str, list[str]]:
    """Reads the lists of images of a dataset.

    Args:
        root: Its folder.
        masks: Its semantic masks; lists may be beside any folder around them.

    Returns:
        Names of images by split, as listed but without suffix; empty if there are no lists.

    Raises:
        DatasetError: A list cannot be read.
    """
    around = {root: None}
    for mask in masks:
        for folder in mask.parents:
            if folder in around or root not in folder.parents:
                break
            around[folder] = None
    for base in sorted(around):
        for name in FOLDERS:
            found: dict[str, list[str]] = {}
            for path in sorted((base / name).glob('*.txt')):
                split = SPLIT_NAMES.get(path.stem.lower())
                if split is not None and path.is_file():
                    found.setdefault(split, []).extend(_names(path))
            if found:
                return {split: found[split] for split in SPLITS if split in found}
    return {}


def by_lists(
    pairs: list[tuple[str, Pair]], lists: dict[str, list[str]]
) -> tuple[Splits, list[str]] | None:
    """Sorts pairs into splits by lists; an image may be in several.

    Args:
        pairs: The pairs, with the splits of their folders.
        lists: Names of images by split.

    Returns:
        The splits and notes; None if the lists name none of the images.
    """
    by_stem: dict[str, list[Pair]] = {}
    for _, pair in pairs:
        for path in {path.stem: path for path in (pair.image, pair.mask) if path}.values():
            by_stem.setdefault(path.stem, []).append(pair)
    splits: Splits = {}
    listed: set[int] = set()
    missing: list[tuple[str, str]] = []
    for split, names in lists.items():
        seen: set[int] = set()
        for name in names:
            found = _named(name, by_stem)
            if not found:
                missing.append((split, name))
            for pair in found:
                if id(pair) not in seen:
                    seen.add(id(pair))
                    splits.setdefault(split, []).append(pair)
        listed |= seen
    if not listed:
        return None
    example = next(pair.image for _, pair in pairs if pair.image and id(pair) in listed)
    folder, suffix = example.parent, example.suffix
    for split, name in missing:
        base = name.rpartition('/')[2] or name.strip('/')
        base = base if base.lower().endswith(tuple(IMAGES)) else f'{base}{suffix}'
        splits.setdefault(split, []).append(Pair(folder / base, None))
    return splits, _notes([pair for _, pair in pairs if id(pair) not in listed])


def _notes(unlisted: list[Pair]) -> list[str]:
    paired = sum(1 for pair in unlisted if pair.image and pair.mask)
    images = sum(1 for pair in unlisted if pair.image and not pair.mask)
    found = [
        (paired, 'image', ''),
        (images, 'image', ' without a semantic mask'),
        (len(unlisted) - paired - images, 'semantic mask', ' without an image'),
    ]
    said = [f'{count_of(number, noun)}{rest}' for number, noun, rest in found if number]
    return [f'Left out, because no list of a split names them: {", ".join(said)}.'] if said else []


def _names(path: Path) -> list[str]:
    """The names in a list: the first of each line, without suffix."""
    names = []
    for line in read_lines(path):
        # VOC's lists may have a flag after the name.
        name = re.sub(r'\s+-?[01]$', '', line.strip())
        if name:
            names.append(name)
    return names


def _named(line: str, by_stem: dict[str, list[Pair]]) -> list[Pair]:
    """The pairs that a line of a list names: with or without folders, suffix, and mask."""
    first = line.split(maxsplit=1)[0]
    for name in (line,) if first == line else (line, first):
        folder, _, base = name.replace('\\', '/').rpartition('/')
        stem, dot, suffix = base.rpartition('.')
        found = by_stem.get(stem if dot + suffix.lower() in IMAGES else base, [])
        if len(found) > 1:
            folder = folder.strip('./').lower()
            ends = [
                pair
                for pair in found
                if any(
                    file and file.parent.as_posix().lower().endswith(folder)
                    for file in (pair.image, pair.mask)
                )
            ]
            found = ends or found
        if found:
            return found
    return []
