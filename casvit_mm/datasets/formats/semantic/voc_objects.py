"""Instance masks of Pascal VOC: ``SegmentationObject`` tells objects apart, ``SegmentationClass``
gives their classes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from casvit.errors import DatasetError
from casvit.tables import IGNORE_INDEX, SPLITS
from casvit_mm.datasets.formats.dataset import (
    UNSPLIT,
    ObjectDataset,
    ObjectSplit,
    Pair,
    split_of,
)
from casvit_mm.datasets.formats.folders import IMAGES, Folder
from casvit_mm.datasets.formats.semantic.known import VOC, is_voc
from casvit_mm.datasets.formats.semantic.legends import LEGENDS, NAMES, look_for, read_classes
from casvit_mm.datasets.formats.semantic.lists import by_lists, find_lists
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.mask_files import UnreadableMaskError, mask_labels
from casvit_mm.datasets.semantic_masks import upright_size

FORMAT = 'Pascal VOC with masks of objects'
OBJECTS, CLASSES, IMAGE_FOLDER = 'SegmentationObject', 'SegmentationClass', 'JPEGImages'


def find(listing: Iterable[Folder]) -> list[Path]:
    """Finds the folders that hold ``SegmentationObject`` and ``SegmentationClass``.

    Args:
        listing: The folders of a dataset.
    """
    holders = (folder.path.parent for folder in listing if folder.path.name == OBJECTS)
    return [holder for holder in holders if (holder / CLASSES).is_dir()]


def read(root: Path, holders: list[Path]) -> ObjectDataset:
    """Reads the objects of all images with both masks.

    An object is a value in ``SegmentationObject``; its class is the most frequent one there in
    ``SegmentationClass``. 0 is the background, and 255 void.

    Args:
        root: Folder of the dataset.
        holders: The folders that :func:`find` returns.

    Raises:
        DatasetError: No image has both masks.
    """
    dataset = ObjectDataset(FORMAT, root, {})
    pairs = [each for holder in holders for each in _pairs(root, holder)]
    if not pairs:
        raise DatasetError(
            f'No image in {root} has masks of the same name in {OBJECTS} and {CLASSES}.'
        )
    masks = [pair.mask for _, pair in pairs if pair.mask]
    lists = find_lists(root, masks)
    listed = by_lists(pairs, lists) if lists else None
    splits: dict[str, list[Pair]] = {}
    if listed:
        splits = listed[0]
        dataset.notes += listed[1]
    else:
        for name, pair in pairs:
            splits.setdefault(name, []).append(pair)
    names = _names(root, masks, dataset)
    contents = {
        name: _content(splits[name], root, dataset.issues)
        for name in (*SPLITS, UNSPLIT)
        if name in splits
    }
    used = {a['category_id'] for content in contents.values() for a in content['annotations']}
    if not names:
        names = {value: f'class_{value}' for value in sorted(used)}
        dataset.notes.append(
            f'{root} has no class_names.txt with one class name per line: classes are numbered.'
        )
    for value in used - names.keys():
        names[value] = f'class_{value}'
    categories = [dict(id=value, name=name) for value, name in sorted(names.items())]
    for name, content in contents.items():
        content['categories'] = categories
        dataset.splits[name] = ObjectSplit(content, holders[0] / OBJECTS, root)
    dataset.notes.append(f'Objects are read from {OBJECTS}, their classes from {CLASSES}.')
    return dataset


def _pairs(root: Path, holder: Path) -> list[tuple[str, Pair]]:
    """The images beside masks of objects, with these masks."""
    split = split_of(*holder.relative_to(root).parts)
    folder = holder / IMAGE_FOLDER
    folder = folder if folder.is_dir() else holder
    masks = {path.stem: path for path in (holder / OBJECTS).iterdir() if _is_image(path)}
    images = {path.stem: path for path in folder.iterdir() if _is_image(path)}
    return [(split, Pair(images[stem], masks[stem])) for stem in sorted(images.keys() & masks)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and not path.name.startswith('.')


def _names(root: Path, masks: list[Path], dataset: ObjectDataset) -> dict[int, str]:
    """The name of each value in ``SegmentationClass``, without the background."""
    file = look_for(root, masks, (*LEGENDS, *NAMES))
    if file is not None:
        classes = read_classes(file)
        dataset.notes += classes.notes
        return {
            index if entry.value is None else entry.value: entry.name
            for index, entry in enumerate(classes.entries)
            if index or entry.value
        }
    if is_voc([mask.parent.with_name(CLASSES) / mask.name for mask in masks]):
        return dict(enumerate(VOC, 1))
    return {}


def _content(pairs: list[Pair], root: Path, issues: IssueList) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for pair in pairs:
        if pair.image is None:
            continue
        key = len(images) + 1
        try:
            width, height = upright_size(pair.image)
        except DatasetError:
            # The audit of the images reports why.
            width = height = 1
        name = pair.image.relative_to(root).as_posix()
        images.append(dict(id=key, file_name=name, width=width, height=height))
        if pair.mask is None:
            issues.add('unreadable-annotation', str(pair.image), '', f'has no mask in {OBJECTS}')
            continue
        for record in _objects(pair.mask, (width, height), issues):
            annotations.append(dict(record, id=len(annotations) + 1, image_id=key))
    return dict(images=images, annotations=annotations)


def _objects(mask: Path, size: tuple[int, int], issues: IssueList) -> list[dict[str, Any]]:
    """The objects of an image, as COCO annotations without ids."""
    try:
        objects = mask_labels(mask)
        classes = mask_labels(mask.parent.with_name(CLASSES) / mask.name)
    except UnreadableMaskError as error:
        issues.add('unreadable-annotation', str(mask), '', f'or its mask of classes {error}')
        return []
    if objects.shape != classes.shape or objects.shape != size[::-1]:
        shapes = [f'{shape[1]}x{shape[0]}' for shape in (objects.shape, classes.shape)]
        issues.add(
            'unreadable-annotation',
            str(mask),
            '',
            f'is {shapes[0]} pixels, its mask of classes {shapes[1]}, its image '
            f'{size[0]}x{size[1]}',
        )
        return []
    found = []
    for value in np.unique(objects).tolist():
        bitmap = objects == value
        inside = np.bincount(classes[bitmap].clip(0, IGNORE_INDEX), minlength=IGNORE_INDEX + 1)
        if value == 0 or not inside[:IGNORE_INDEX].any():
            # The background, and void.
            continue
        place = dict(file=str(mask), record=f'value {value}')
        if not inside[1:IGNORE_INDEX].any():
            issues.add('unreadable-annotation', str(mask), f'value {value}', 'has no class')
            continue
        encoded = rle.encode(np.asfortranarray(bitmap, np.uint8))
        found.append(
            dict(
                category_id=int(inside[1:IGNORE_INDEX].argmax()) + 1,
                bbox=[float(side) for side in rle.toBbox(encoded)],
                area=int(rle.area(encoded)),
                segmentation=dict(
                    size=[int(side) for side in encoded['size']], counts=encoded['counts'].decode()
                ),
                iscrowd=0,
                source=place,
            )
        )
    return found
