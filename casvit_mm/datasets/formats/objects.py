"""Converts formats with one annotation file per image to COCO, using `supervision`.

`supervision` parses the files; this module walks the folders one image at a time, so that the
masks of thousands of images are never in memory together and damaged files are reported.
"""

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as rle

from casvit.errors import DatasetError
from casvit.sentences import short
from casvit.tables import SPLITS
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, ObjectSplit
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.semantic_masks import upright_size

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True)
class Labelled:
    """An image and its annotation file.

    Attributes:
        image: The image.
        file: Its annotations; None for an image without any.
    """

    image: Path
    file: Path | None


@dataclass
class Objects:
    """The objects of an annotation file.

    Attributes:
        names: Class of each object.
        boxes: Corners ``x1, y1, x2, y2`` in pixels. Shape: ``(N, 4)``.
        places: Place of each in the file: ``line 3``.
        masks: Masks of shape ``(H, W)``, bool; None for objects that only have a box.
        size: Width and height that the file states; None if it states none.
    """

    names: list[str] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    masks: list[np.ndarray | None] = field(default_factory=list)
    size: tuple[int, int] | None = None


# Reads the file of an image of a given width and height; adds issues to the list.
Reader = Callable[[Path, tuple[int, int], IssueList], Objects]


def require_supervision() -> None:
    """Imports the library that parses these formats.

    Raises:
        DatasetError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            importlib.import_module('supervision')
    except ImportError as error:
        raise DatasetError(
            'Reading VOC, YOLO and LabelMe datasets requires the package supervision: '
            "pip install 'casvit-mm[data]'."
        ) from error


def as_coco(
    labelled_images: Iterable[Labelled],
    root: Path,
    read: Reader,
    classes: list[str],
    issues: IssueList,
) -> dict[str, Any]:
    """Collects images and their objects in the form of a COCO annotation file.

    Args:
        labelled_images: The images of one split.
        root: The folder that their names are relative to.
        read: Reads the annotations of an image.
        classes: Names of the classes, to which new ones are added.
        issues: The list to which unreadable files and records are added.

    Returns:
        The content of an annotation file; annotations and new categories have a ``source``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    sources: dict[str, dict[str, str]] = {}
    for labelled in labelled_images:
        try:
            size = upright_size(labelled.image)
        except DatasetError:
            # The audit of the images reports why.
            size = None
        objects = Objects()
        if labelled.file is not None and size is not None:
            objects = read(labelled.file, size, issues)
        width, height = objects.size or size or (1, 1)
        key = len(images) + 1
        images.append(
            dict(
                id=key,
                file_name=labelled.image.relative_to(root).as_posix(),
                width=width,
                height=height,
            )
        )
        for name, box, mask, where in zip(
            objects.names, objects.boxes, objects.masks, objects.places, strict=True
        ):
            if name not in classes:
                classes.append(name)
                # Only classes that an annotation file introduces have a source.
                sources[name] = dict(file=str(labelled.file), record=where)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=key,
                    category_id=classes.index(name) + 1,
                    **_geometry(box, mask),
                    iscrowd=0,
                    source=dict(file=str(labelled.file), record=where),
                )
            )
    categories = [
        dict(id=index, name=name, **(dict(source=sources[name]) if name in sources else {}))
        for index, name in enumerate(classes, 1)
    ]
    return dict(images=images, annotations=annotations, categories=categories)


def read_splits(
    dataset: ObjectDataset, by_split: Mapping[str, list[Labelled]], read: Reader, source: Path
) -> None:
    """Reads the splits of a dataset whose format does not order the classes: sorts them by name.

    Args:
        dataset: The dataset, to which the splits are added.
        by_split: Images by split.
        read: Reads the annotations of an image.
        source: The file or folder that they are read from.
    """
    classes: list[str] = []
    for name in [name for name in (*SPLITS, UNSPLIT) if name in by_split]:
        content = as_coco(by_split[name], dataset.root, read, classes, dataset.issues)
        dataset.splits[name] = ObjectSplit(content, source, dataset.root)
    ordered = sorted(classes)
    sources = {
        category['name']: dict(source=category['source'])
        for split in dataset.splits.values()
        for category in split.content['categories']
        if 'source' in category
    }
    numbers = {old: ordered.index(name) + 1 for old, name in enumerate(classes, 1)}
    for split in dataset.splits.values():
        content = split.content
        content['categories'] = [
            dict(id=index, name=name, **sources.get(name, {}))
            for index, name in enumerate(ordered, 1)
        ]
        for annotation in content['annotations']:
            annotation['category_id'] = numbers[annotation['category_id']]


def add(
    objects: Objects, detections: 'Detections', name: str, place: str, *, with_mask: bool
) -> None:
    """Adds one object that `supervision` read.

    Args:
        objects: The objects to add it to.
        detections: The object, as the only detection.
        name: Name of its class.
        place: Its place in the file.
        with_mask: Whether it has a mask, rather than only a box.
    """
    mask = detections.mask[0] if with_mask and detections.mask is not None else None
    objects.names.append(name)
    objects.boxes.append(np.asarray(detections.xyxy[0], float))
    objects.masks.append(mask)
    objects.places.append(place)


def check_coordinates(
    values: Iterable[float | str], size: tuple[int, int], scale: float = 1.0
) -> None:
    """Checks that coordinates are numbers in or near an image, before C code uses them.

    Args:
        values: The coordinates of an object.
        size: Width and height of the image.
        scale: Pixels per unit of the coordinates.

    Raises:
        ValueError: One is not a number, or so far away that filling the polygon would take minutes.
    """
    width, height = size
    far = 10 * (width + height) + 1000
    for value in values:
        if not abs(float(value) * scale) <= far:
            raise ValueError(
                f'has the coordinate {short(value)}, far outside the image of {width}x{height} '
                'pixels'
            )


def _geometry(box: np.ndarray, mask: np.ndarray | None) -> dict[str, Any]:
    """Box, area and segmentation of an object."""
    x1, y1, x2, y2 = (round(float(value), 3) for value in box)
    geometry: dict[str, Any] = dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1))
    if mask is not None:
        encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
        geometry['area'] = int(rle.area(encoded))
        geometry['segmentation'] = dict(
            size=[int(side) for side in encoded['size']], counts=encoded['counts'].decode()
        )
    return geometry
