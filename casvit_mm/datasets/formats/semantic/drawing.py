"""Draws semantic masks from the polygons and run-length masks of objects."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from casvit.errors import DatasetError
from casvit.sentences import count_of
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.formats.dataset import MaskDataset, ObjectDataset, ObjectSplit, Pair
from casvit_mm.datasets.formats.semantic.known import wheel
from casvit_mm.datasets.object_masks.coding import encode_mask
from casvit_mm.datasets.object_masks.polygons import polygons_of

BACKGROUND = 'background'
# pycocotools clips polygons at the edges of what it fills, one pixel inside.
MARGIN = 3
# Names that datasets give to what is no object.
BACKGROUND_NAMES = frozenset((BACKGROUND, '_background_', '__background__'))


def draw_masks(dataset: ObjectDataset, folder: Path) -> MaskDataset:
    """Writes a semantic mask for every image of a dataset of objects.

    0 is the background, then the classes follow in the order of the dataset. Smaller objects lie
    on top of larger ones; crowds, the boxes of objects without a mask, and regions that the
    format marks as such are ignored (255) unless an object covers them.

    Args:
        dataset: The dataset, with polygons or run-length masks.
        folder: The folder to write to; masks get the path of their image, in a folder per split.

    Raises:
        DatasetError: No object has a mask, or there are more classes than a semantic mask holds.
    """
    names = list(
        dict.fromkeys(
            str(category['name'])
            for split in dataset.splits.values()
            for category in split.content.get('categories') or []
            if isinstance(category, dict) and 'name' in category
        )
    )
    others = [name for name in names if name.lower() not in BACKGROUND_NAMES]
    classes = [BACKGROUND, *others]
    if len(classes) > IGNORE_INDEX:
        raise DatasetError(
            f'{dataset.root} has {count_of(len(names), "class")}, but a run reads 8 bits of a '
            f'semantic mask: {IGNORE_INDEX} classes at most, with the background.'
        )
    index = {**dict.fromkeys(names, 0), **{name: i for i, name in enumerate(others, 1)}}
    drawn = MaskDataset(
        f'semantic masks drawn from {dataset.format}',
        dataset.root,
        {},
        classes,
        [(0, 0, 0), *map(wheel, range(len(others)))],
        notes=list(dataset.notes),
        named=True,
    )
    counts = dict(drawn=0, boxes=0, crowds=0, regions=0)
    for name, split in dataset.splits.items():
        drawn.splits[name] = _draw_split(split, folder / name, index, counts)
    if not counts['drawn']:
        raise DatasetError(
            f'No object in {dataset.root} has a polygon or a mask, so there are no semantic masks '
            'to draw: use --task detection.'
        )
    drawn.notes.append(
        f'Semantic masks were drawn from {count_of(counts["drawn"], "object")}, smaller ones on '
        f'top; {BACKGROUND!r} is class 0.'
    )
    for key, noun, rest in (
        ('crowds', 'crowd', ''),
        ('boxes', 'box', ' of objects without a mask'),
        ('regions', 'region', ' marked to be ignored'),
    ):
        if counts[key]:
            drawn.notes.append(f'{count_of(counts[key], noun)}{rest}: ignored (255).')
    return drawn


def _draw_split(
    split: ObjectSplit, folder: Path, index: dict[str, int], counts: dict[str, int]
) -> list[Pair]:
    """Writes the masks of a split, and counts what was drawn."""
    names = {c['id']: str(c['name']) for c in split.content.get('categories') or []}
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for annotation in split.content.get('annotations') or []:
        by_image.setdefault(annotation.get('image_id'), []).append(annotation)
    pairs = []
    for record in split.content.get('images') or []:
        size = (int(record['width']), int(record['height']))
        labels = np.zeros(size[::-1], np.uint8)
        parts = []
        for annotation in by_image.get(record['id'], []):
            crowd = bool(annotation.get('iscrowd'))
            part = _bitmap(annotation.get('segmentation'), size)
            value = index.get(names.get(annotation.get('category_id'), ''), IGNORE_INDEX)
            if part is None:
                part, value = _box(annotation.get('bbox'), size), IGNORE_INDEX
                counts['boxes'] += part is not None and not crowd
            elif not crowd:
                counts['drawn'] += 1
            counts['crowds'] += crowd
            if part is not None:
                parts.append((IGNORE_INDEX if crowd else value, part))
        for region in record.get('other_regions') or ():
            if (part := _bitmap(region['segmentation'], size)) is not None:
                ignored = region['name'].strip().lower() not in BACKGROUND_NAMES
                counts['regions'] += ignored
                parts.append((IGNORE_INDEX if ignored else 0, part))
        # Ignored regions first, then large objects.
        parts.sort(key=lambda each: (each[0] != IGNORE_INDEX, -int(each[1][2].sum())))
        for value, (x, y, bitmap) in parts:
            height, width = bitmap.shape
            labels[y : y + height, x : x + width][bitmap] = value
        name = Path(record['file_name'])
        inside = [part for part in name.parts if part not in ('..', name.anchor)]
        target = folder.joinpath(*inside[:-1], f'{name.name}.png')
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(target)
        pairs.append(Pair(split.image(record), target))
    return pairs


def _bitmap(segmentation: object, size: tuple[int, int]) -> tuple[int, int, np.ndarray] | None:
    """The place and pixels of a segmentation; None if it has none that can be drawn."""
    width, height = size
    x = y = 0
    if polygons := polygons_of(segmentation):
        points = np.array([value for part in polygons for value in part], float).reshape(-1, 2)
        if not np.isfinite(points).all():
            return None
        # Only the rectangle around a polygon is filled: images may be large, objects small.
        low = (np.floor(points.min(0)) - MARGIN).clip(0, [width, height]).astype(int)
        high = (np.ceil(points.max(0)) + MARGIN).clip(0, [width, height]).astype(int)
        if (high <= low).any():
            return None
        (x, y), (width, height) = low.tolist(), (high - low).tolist()
        segmentation = [(np.reshape(p, (-1, 2)) - low).ravel().tolist() for p in polygons]
    encoded = encode_mask(segmentation, (width, height))
    if encoded is None or list(encoded['size']) != [height, width]:
        return None
    bitmap = rle.decode(encoded).astype(bool)
    return (x, y, bitmap) if bitmap.any() else None


def _box(box: object, size: tuple[int, int]) -> tuple[int, int, np.ndarray] | None:
    """The place and pixels of a bounding box in an image."""
    if not isinstance(box, (list, tuple)) or len(box) != 4:
        return None
    corners = np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]], float)
    if not np.isfinite(corners).all():
        return None
    x1, y1, x2, y2 = np.rint(corners).clip(0, [*size, *size]).astype(int).tolist()
    return (x1, y1, np.ones((y2 - y1, x2 - x1), bool)) if x2 > x1 and y2 > y1 else None
