"""Converts what `datumaro` read to COCO records."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from casvit.errors import DatasetError
from casvit.sentences import count_of, some
from casvit.tables import SPLITS
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, ObjectSplit, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.foreign.image_finder import ImageFinder
from casvit_mm.datasets.formats.foreign.library import Source
from casvit_mm.datasets.object_masks.coding import encode_mask, mask_area, mask_bounds
from casvit_mm.datasets.object_masks.run_lengths import MAX_PIXELS

# By reader: the attribute, and its value, of what is not an object; and what the format calls it.
# WIDER Face flags invalid faces in the fourth column, which the library takes for another flag.
NOT_OBJECTS: dict[str, tuple[str, object, str]] = {
    'cvat': ('outside', True, 'outside'),
    'mot_seq': ('ignored', True, 'ignored'),
    'wider_face': ('occluded', '1', 'invalid'),
}
# By reader: the class of regions that are not objects.
NOT_CLASSES = {'kitti_detection': 'DontCare'}
# By reader: the class of objects without a class, in formats of one class.
ONLY_CLASS = {'mot_seq': 'pedestrian'}
# Readers of formats that give the centre of a box, which the library takes for its corner.
CENTRED = ('roboflow_create_ml',)
# Readers of files that list the classes of the dataset. Others list all those of a benchmark.
LISTING_CLASSES = ('cvat', 'datumaro', 'vott_json')
CROWD_FLAGS = ('is_crowd', 'is_group_of')
TRUE = (True, 1, '1', 'true', 'True')
SHAPES = ('polygon', 'mask', 'rotated_bbox', 'ellipse')
ELLIPSE_POINTS = 32


@dataclass
class _Split:
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)


class Converter:
    """Collects the objects of the sources of a dataset.

    Args:
        dataset: The dataset, to which issues, notes and splits are added.
        plugin: Name of datumaro's reader.
        listing: The folders of the dataset.
    """

    def __init__(self, dataset: ObjectDataset, plugin: str, listing: list[Folder]) -> None:
        self.dataset = dataset
        self.plugin = plugin
        self.images = ImageFinder(dataset.root, listing)
        self.splits: dict[str, _Split] = defaultdict(_Split)
        self.classes: dict[str, None] = {}
        self.left_out: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.marked = self.merged = self.turned = 0

    def add(self, source: Source) -> None:
        """Adds the images and objects of a source."""
        self.left_out += source.left_out
        if self.plugin in LISTING_CLASSES:
            self.classes.update(dict.fromkeys(source.classes))
        for item in source.items:
            image = self._image(source, item)
            if image is None:
                continue
            split, record = image
            for where, name, members in self._grouped(source, item):
                geometry = self._geometry(source, where, members, record)
                if geometry is None:
                    continue
                self.classes.setdefault(name)
                split.annotations.append(
                    dict(
                        id=len(split.annotations) + 1,
                        image_id=record['id'],
                        category_id=name,
                        **geometry,
                        iscrowd=int(any(_is_crowd(member) for member in members)),
                        source=dict(file=str(source.file), record=where),
                    )
                )

    def finish(self, source: Path) -> None:
        """Adds the splits and notes to the dataset.

        Args:
            source: The file or folder that the dataset was read from.

        Raises:
            DatasetError: There are no images.
        """
        dataset = self.dataset
        listed = self.plugin in LISTING_CLASSES
        classes = list(self.classes) if listed else sorted(self.classes)
        numbers = {name: number for number, name in enumerate(classes, 1)}
        for name in [name for name in (*SPLITS, UNSPLIT) if name in self.splits]:
            split = self.splits[name]
            for annotation in split.annotations:
                annotation['category_id'] = numbers[annotation['category_id']]
            content = dict(
                images=list(split.images.values()),
                annotations=split.annotations,
                categories=[dict(id=number, name=name) for name, number in numbers.items()],
            )
            dataset.splits[name] = ObjectSplit(content, source, dataset.root)
        if not dataset.splits:
            raise DatasetError(f'{source} ({dataset.format}) lists no image.')
        dataset.notes += self._notes()

    def _notes(self) -> Iterator[str]:
        if self.left_out:
            kinds = [count_of(n, _noun(kind)) for kind, n in sorted(self.left_out.items())]
            yield f'Left out: {", ".join(kinds)}. Only boxes, polygons and masks are read.'
        if self.marked:
            mark = NOT_CLASSES.get(self.plugin) or NOT_OBJECTS[self.plugin][2]
            yield f'Left out: {count_of(self.marked, "annotation")} marked as {mark!r}.'
        if self.attributes:
            yield f'Attributes left out: {some(sorted(self.attributes), 8)}.'
        if self.turned:
            yield (
                f'{count_of(self.turned, "rotated box")} and ellipses are read as polygons, with '
                'the upright boxes around them.'
            )
        if self.merged:
            yield (
                f'{count_of(self.merged, "group")} of several shapes of the same class: each is '
                'one object.'
            )
        if self.images.moved:
            yield (
                f'{count_of(self.images.moved, "path")} of images not there: found by their names '
                'without folders.'
            )

    def _image(self, source: Source, item: Any) -> tuple[_Split, dict[str, Any]] | None:
        """The record of an image and its split; None if there is none that can be used."""
        issues, where = self.dataset.issues, _name_of(item)
        media = item.media
        if media is not None and media.type.name != 'IMAGE':
            self.left_out[media.type.name.lower()] += 1
            return None
        if media is None or not media.path:
            if item.annotations:
                issues.add(
                    'unreadable-annotation',
                    str(source.file),
                    where,
                    'has annotations, but there is no image of that name',
                )
            return None
        wanted = where if self.plugin == 'cvat' else media.path
        name = self.images.find(media.path, wanted, source.file, item.subset or '')
        if name is None:
            issues.add(
                'broken-record',
                str(source.file),
                where,
                'names an image outside the dataset, which is not read',
            )
            return None
        split = self.splits[self._split_of(source.file, item.subset or '', name)]
        if name not in split.images:
            width, height = _stated_size(media) or self.images.size(name)
            split.images[name] = dict(
                id=len(split.images) + 1, file_name=name, width=width, height=height
            )
        return split, split.images[name]

    def _split_of(self, file: Path, subset: str, image: str) -> str:
        parts = file.relative_to(self.dataset.root).parts
        found = split_of(*(Path(part).stem for part in parts), subset)
        return found if found != UNSPLIT else split_of(*Path(image).parent.parts)

    def _grouped(self, source: Source, item: Any) -> Iterator[tuple[str, str, list[Any]]]:
        """Yields the place, the class and the shapes of each object of an image."""
        groups: dict[tuple[str, int, int], list[Any]] = {}
        places: dict[tuple[str, int, int], str] = {}
        for index, shape in enumerate(item.annotations):
            where = f'{_name_of(item)}: annotations[{index}]'
            name = self._class_of(source, shape, where)
            if name is not None:
                alone = not shape.group
                key = (name, shape.group or 0, index if alone else -1)
                groups.setdefault(key, []).append(shape)
                places.setdefault(key, where)
        for key, members in groups.items():
            boxes = [shape for shape in members if shape.type.name == 'bbox']
            if len(boxes) > 1:
                # A group of several objects, not an object of several shapes.
                for shape in members:
                    yield places[key], key[0], [shape]
            else:
                self.merged += len(members) - len(boxes) > 1
                yield places[key], key[0], members

    def _class_of(self, source: Source, shape: Any, where: str) -> str | None:
        """The name of the class of an object; None for what is not an object."""
        kind = shape.type.name
        if kind not in ('bbox', *SHAPES):
            self.left_out[kind] += 1
            return None
        mark, marked, _ = NOT_OBJECTS.get(self.plugin, ('', None, ''))
        label = shape.label
        known = isinstance(label, int) and 0 <= label < len(source.classes)
        name = source.classes[label] if known else ONLY_CLASS.get(self.plugin)
        flagged = mark and shape.attributes.get(mark) == marked
        if flagged or name == NOT_CLASSES.get(self.plugin, ''):
            self.marked += 1
            return None
        if name is None:
            self.dataset.issues.add(
                'unreadable-annotation', str(source.file), where, 'has no class that is listed'
            )
            return None
        self.attributes.update(
            attribute
            for attribute, value in shape.attributes.items()
            if value not in (None, False, '') and attribute not in (mark, *CROWD_FLAGS)
        )
        return name

    def _geometry(
        self, source: Source, where: str, members: list[Any], image: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Box, area and segmentation of an object; None if its shapes cannot be read."""
        size = (image['width'], image['height'])
        box = next((shape.get_bbox() for shape in members if shape.type.name == 'bbox'), None)
        if box is not None and self.plugin in CENTRED:
            box = [box[0] - box[2] / 2, box[1] - box[3] / 2, *box[2:]]
        try:
            parts = [_segmentation(m, size) for m in members if m.type.name in SHAPES]
            segmentation = _joined(parts, size)
        except Exception as error:
            # The library decodes masks when they are asked for, and raises all kinds of exceptions.
            self.dataset.issues.add(
                'unreadable-annotation', str(source.file), where, f'cannot be read: {error}'
            )
            return None
        self.turned += any(m.type.name in ('rotated_bbox', 'ellipse') for m in members)
        if box is None:
            x1, y1, x2, y2 = mask_bounds(segmentation) or (0.0, 0.0, 0.0, 0.0)
            box = [x1, y1, x2 - x1, y2 - y1]
        box = [round(float(value), 3) for value in box]
        if segmentation is None:
            return dict(bbox=box, area=box[2] * box[3])
        return dict(bbox=box, area=mask_area(segmentation) or 0, segmentation=segmentation)


def _segmentation(shape: Any, size: tuple[int, int]) -> list[list[float]] | dict[str, Any]:
    """The polygon, or the run lengths, of a shape.

    Raises:
        Exception: It cannot be decoded.
    """
    kind = shape.type.name
    if kind == 'polygon':
        return [[float(value) for value in shape.points]]
    if kind == 'rotated_bbox':
        return [[float(value) for value in np.ravel(shape.as_polygon())]]
    if kind == 'ellipse':
        x1, y1, x2, y2 = map(float, shape.points)
        angles = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)
        xs = (x1 + x2 + (x2 - x1) * np.cos(angles)) / 2
        ys = (y1 + y2 + (y2 - y1) * np.sin(angles)) / 2
        return [np.stack([xs, ys], 1).round(2).ravel().tolist()]
    stored = getattr(shape, 'rle', None)
    if isinstance(stored, dict):
        # Not decoded here: the run lengths of a damaged file crash the process in C code.
        counts = stored['counts']
        counts = counts.decode('ascii') if isinstance(counts, bytes) else counts
        return dict(size=[int(side) for side in stored['size']], counts=counts)
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f'the image is said to have {width}x{height} pixels')
    encoded = rle.encode(np.asfortranarray(np.asarray(shape.image) != 0, dtype=np.uint8))
    return dict(size=list(map(int, encoded['size'])), counts=encoded['counts'].decode())


def _joined(parts: list[Any], size: tuple[int, int]) -> Any:
    """One segmentation of several; None if there are none.

    Raises:
        ValueError: One of them cannot be decoded.
    """
    if all(isinstance(part, list) for part in parts):
        return [polygon for part in parts for polygon in part] or None
    if len(parts) == 1:
        return parts[0]
    masks = [encode_mask(part, size) for part in parts]
    if None in masks:
        raise ValueError('one of its masks cannot be decoded')
    merged = rle.merge(masks)
    return dict(size=list(map(int, merged['size'])), counts=merged['counts'].decode())


def _stated_size(media: Any) -> tuple[int, int] | None:
    """Width and height of an image as its annotations state them."""
    try:
        height, width = map(int, media.size) if media.has_size else (0, 0)
    except (TypeError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _name_of(item: Any) -> str:
    """The name that the annotations have for an image."""
    return str(item.attributes.get('name', item.id))


def _is_crowd(shape: Any) -> bool:
    return any(shape.attributes.get(flag) in TRUE for flag in CROWD_FLAGS)


def _noun(kind: str) -> str:
    """What a kind of annotation is called."""
    if kind in ('label', 'points'):
        return {'label': 'image label', 'points': 'keypoint annotation'}[kind]
    return kind.replace('_', ' ')
