"""Images with semantic masks, as class indices or colours, in the common layouts."""

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from casvit.errors import DatasetError
from casvit.sentences import some
from casvit.tables import IGNORE_INDEX, SPLITS
from casvit_mm.datasets.formats.dataset import UNSPLIT, MaskDataset, Pair, listed_splits, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.semantic_masks import INDEX_MODES

MASK_FOLDERS = frozenset(
    (
        *('annotations', 'annotation', 'annots', 'labels', 'label', 'labelmaps', 'label_maps'),
        *('masks', 'mask', 'gt', 'gtfine', 'segmentationclass', 'segmentation', 'segmentations'),
    )
)
IMAGE_FOLDERS = frozenset(
    ('images', 'image', 'img', 'imgs', 'jpegimages', 'leftimg8bit', 'pictures', 'photos')
)
# Suffixes that tools append to the name of an image to name its mask.
MASK_SUFFIX = re.compile(r'(_mask|_masks|_label|_labels|_gt|_seg|_L|_gtFine_labelTrainIds)$')
LEGENDS = (
    *('labelmap.txt', 'label_colors.txt', 'legend.txt', 'legend.csv', 'legend.json'),
    *('class_dict.csv', '_classes.csv', 'classes.csv'),
)
NAMES = ('classes.txt', 'names.txt', 'labels.txt', 'obj.names')
IGNORED_NAMES = frozenset(('void', 'ignore', 'ignored', 'unlabeled', 'unlabelled', '255'))
Colour = tuple[int, int, int]


def find(listing: Iterable[Folder]) -> tuple[list[Path], list[Path]]:
    """Finds images and semantic masks.

    Args:
        listing: The folders; the first is the root.

    Returns:
        The images and the semantic masks; either may be empty.
    """
    images, masks = [], []
    root: Path | None = None
    for folder in listing:
        root = root or folder.path
        stems = {path.stem for path in folder.images}
        inside = [part.lower() for part in folder.path.relative_to(root).parts]
        for path in folder.images:
            paired = MASK_SUFFIX.sub('', path.stem)
            beside = paired != path.stem and paired in stems and path.suffix.lower() == '.png'
            if beside or any(part in MASK_FOLDERS or part.endswith('annot') for part in inside):
                masks.append(path)
            elif not any(part.startswith('segmentationobject') for part in inside):
                images.append(path)
    return images, masks


def read(
    root: Path, images: list[Path], masks: list[Path], legend: Path | None = None
) -> MaskDataset:
    """Pairs images with their semantic masks, and reads the classes.

    Args:
        root: Folder of the dataset.
        images: Its images.
        masks: Its semantic masks.
        legend: File with the colours or names of the classes; looked for in ``root`` if None.

    Returns:
        The dataset.

    Raises:
        DatasetError: No image has a semantic mask, or the legend is invalid.
    """
    by_key: dict[tuple[str, ...], list[Path | None]] = {}
    for column, paths in enumerate((images, masks)):
        for path in paths:
            by_key.setdefault(_key(root, path), [None, None])[column] = path
    if not any(image and mask for image, mask in by_key.values()):
        raise DatasetError(
            f'No image in {root} has a semantic mask of the same name: {some(map(str, images), 2)} '
            f'and {some(map(str, masks), 2)}. Expected images/…/a.jpg and annotations/…/a.png.'
        )
    lists = listed_splits(root, 'Segmentation')
    splits: dict[str, list[Pair]] = {}
    for key, (image, mask) in sorted(by_key.items()):
        name = lists.get(key[-1]) or split_of(*key[:-1])
        splits.setdefault(name, []).append(Pair(image, mask))
    ordered = {name: splits[name] for name in (*SPLITS, UNSPLIT) if name in splits}
    coloured = _is_coloured(masks)
    legend = legend or _look_for(root, (*LEGENDS, *NAMES) if not coloured else LEGENDS)
    entries = read_legend(legend) if legend else []
    if coloured:
        return _coloured(root, ordered, entries, legend)
    names = [name for name, _ in entries]
    colours = [colour for _, colour in entries]
    dataset = MaskDataset('semantic masks with class indices', root, ordered, names, [])
    dataset.names_file = legend if names else None
    if not names:
        dataset.classes = [f'class_{value}' for value in range(_highest(masks) + 1)]
        dataset.notes.append(
            f'{root} has no classes.txt with one class name per line: the classes are numbered '
            f'{dataset.classes[0]} to {dataset.classes[-1]}.'
        )
    dataset.palette = [
        colour or wheel(index)
        for index, colour in enumerate(colours or [None] * len(dataset.classes))
    ]
    return dataset


def read_legend(path: Path) -> list[tuple[str, Colour | None]]:
    """Reads the names and colours of classes, in order.

    Supported are lines of ``name:r,g,b`` (CVAT), ``r g b name`` (CamVid) and ``name``, tables of
    ``name,r,g,b`` with a header, tables of ``value,name``, and JSON with names and colours.

    Args:
        path: The file.

    Returns:
        Names, and RGB colours if the file has them.

    Raises:
        DatasetError: The file cannot be read, or has another format.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'The legend {path} cannot be read: {error}.') from error
    if path.suffix.lower() == '.json':
        return _json_legend(path, text)
    if path.suffix.lower() == '.csv':
        return _table_legend(path, text)
    entries: list[tuple[str, Colour | None]] = []
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip() or line.startswith('#'):
            continue
        if found := re.match(r'\s*(\d+)[ ,\t]+(\d+)[ ,\t]+(\d+)[ ,\t]+(\S.*?)\s*$', line):
            entries.append((found[4], _colour(found.groups()[:3], path, number)))
        elif found := re.match(r'\s*([^:]+):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?$', line):
            entries.append((found[1].strip(), _colour(found.groups()[1:4], path, number)))
        elif re.search(r'\d+[ ,\t]+\d+[ ,\t]+\d+', line):
            raise DatasetError(f'Line {number} of the legend {path} cannot be parsed: {line!r}.')
        else:
            entries.append((line.strip(), None))
    return entries


def wheel(index: int) -> Colour:
    """A distinct colour for a class that has none, from VOC's colour map."""
    red = green = blue = 0
    index += 1
    for shift in range(7, -1, -1):
        red |= (index & 1) << shift
        green |= (index >> 1 & 1) << shift
        blue |= (index >> 2 & 1) << shift
        index >>= 3
    return red, green, blue


def _json_legend(path: Path, text: str) -> list[tuple[str, Colour | None]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DatasetError(f'The legend {path} is not JSON: {error}.') from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [(name, None) for name in content]
    if isinstance(content, dict) and all(
        isinstance(colour, list) and len(colour) == 3 for colour in content.values()
    ):
        return [
            (str(name), _colour(colour, path, number))
            for number, (name, colour) in enumerate(content.items(), 1)
        ]
    raise DatasetError(
        f'The legend {path} is neither {{"name": [red, green, blue], …}} nor a list of names.'
    )


def _table_legend(path: Path, text: str) -> list[tuple[str, Colour | None]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.split('\n')) if row]
    heading = [cell.lower() for cell in rows[0]] if rows else []
    # The first column of each initial.
    columns = {h[:1]: i for i, h in reversed(list(enumerate(heading)))}
    if len(heading) >= 4 and columns.keys() >= set('rgb'):
        name = next((i for i, h in enumerate(heading) if 'name' in h or 'class' in h), 0)
        return [
            (row[name], _colour([row[columns[c]] for c in 'rgb'], path, number))
            for number, row in enumerate(rows[1:], 2)
        ]
    if len(heading) == 2:
        body = rows[1:] if not rows[0][0].isdigit() else rows
        ordered = sorted(body, key=lambda row: int(row[0]) if row[0].isdigit() else 0)
        if [row[0] for row in ordered] == [str(value) for value in range(len(ordered))]:
            return [(row[1], None) for row in ordered]
    raise DatasetError(
        f'The legend {path} is neither a table name,r,g,b nor a table value,name of all values.'
    )


def _colour(values: Iterable[object], path: Path, line: int) -> Colour:
    try:
        red, green, blue = (int(str(value)) for value in values)
    except ValueError:
        red = -1
    if red < 0 or not all(0 <= value <= 255 for value in (red, green, blue)):
        raise DatasetError(f'Line {line} of the legend {path} has no colour from 0 to 255.')
    return red, green, blue


def _coloured(
    root: Path,
    splits: dict[str, list[Pair]],
    entries: list[tuple[str, Colour | None]],
    file: Path | None,
) -> MaskDataset:
    dataset = MaskDataset('semantic masks with colours', root, splits, [], [], names_file=file)
    legend: dict[Colour, int] = {}
    for name, colour in entries:
        if colour is None:
            raise DatasetError(f'The legend {file} has no colour for {name!r}.')
        if colour in legend:
            raise DatasetError(f'The legend {file} has the colour {colour} twice.')
        if name.lower() in IGNORED_NAMES:
            legend[colour] = IGNORE_INDEX
            dataset.notes.append(f'The class {name!r} of {file} is ignored in training.')
            continue
        legend[colour] = len(dataset.classes)
        dataset.classes.append(name)
        dataset.palette.append(colour)
    dataset.legend = legend or None
    return dataset


def _key(root: Path, path: Path) -> tuple[str, ...]:
    """The key that an image shares with its mask: the path without what tells the two apart."""
    parts = []
    for part in path.relative_to(root).parts[:-1]:
        name = part.lower()
        if name in MASK_FOLDERS or name in IMAGE_FOLDERS:
            continue
        parts.append(re.sub(r'_?annot$', '', name) or name)
    return (*parts, re.sub(r'_leftImg8bit$', '', MASK_SUFFIX.sub('', path.stem)))


def _look_for(root: Path, names: Iterable[str]) -> Path | None:
    for name in names:
        for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
            if (folder / name).is_file():
                return folder / name
    return None


def _is_coloured(masks: list[Path]) -> bool:
    for path in masks[:8]:
        try:
            with Image.open(path) as image:
                return image.mode not in INDEX_MODES
        except Exception:
            # Pillow's parsers raise all kinds of exceptions for a damaged file; the check names it.
            continue
    return False


def _highest(masks: list[Path]) -> int:
    """The highest class index in a sample of the masks."""
    highest = 0
    for path in masks[:: max(1, len(masks) // 64)]:
        try:
            with Image.open(path) as image:
                values = np.unique(np.asarray(image)).astype(np.int64)
        except Exception:
            # Pillow's parsers raise all kinds of exceptions for a damaged file; the check names it.
            continue
        highest = max([highest, *values[values < IGNORE_INDEX].tolist()])
    return highest
