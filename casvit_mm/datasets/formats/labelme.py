"""LabelMe: one JSON file per image, next to it or in another folder."""

import base64
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from casvit.encodings import decode
from casvit.sentences import count_of, short
from casvit_mm.datasets.formats.coco.read import json_kind
from casvit_mm.datasets.formats.dataset import ObjectDataset
from casvit_mm.datasets.formats.folders import Folder, inside
from casvit_mm.datasets.formats.objects import (
    Classes,
    FoundObject,
    Images,
    Labelled,
    Objects,
    read_splits,
)
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.object_masks.coding import RunLengths
from casvit_mm.datasets.object_masks.run_lengths import MAX_PIXELS
from casvit_mm.datasets.object_masks.shapes import (
    Polygon,
    check_near,
    circle,
    numbers_of,
    placed_mask,
    rectangle,
    shown,
    union,
)
from casvit_mm.datasets.text_files import TextFiles

FORMAT = 'LabelMe'
# Labels of regions that are no objects, in LabelMe and its exporters.
NO_CLASSES = frozenset(('__ignore__', '__ignored__', '_background_', '__background__'))
# Names that programs of LabelMe's format have for a box with an angle: four corners.
ROTATED = frozenset(('rotation', 'rotated_rectangle', 'oriented_rectangle', 'rotated_box'))
# Files of each folder that are looked into; others may lie among the annotations.
LOOKED_INTO = 50
# Files hold a copy of their image as text; the rest of a file is far smaller.
LARGEST = 2**29
LARGEST_WITHOUT_IMAGE = 2**26
LARGEST_SIDE = 2**31
COPY_OF_IMAGE = re.compile(rb'"imageData"\s*:\s*"[^"]*"')
IMAGE_PATH = re.compile(rb'"imagePath"\s*:\s*("(?:[^"\\]|\\.)*")')
# Digits of the longest whole number that is read as such.
DIGITS = 300


def find(listing: Iterable[Folder]) -> list[Folder]:
    """Finds the folders that hold LabelMe JSON files."""
    return [
        folder
        for folder in listing
        if any(json_kind(p) == 'labelme' for p in folder.ending_in('.json')[:LOOKED_INTO])
    ]


def read(root: Path, found: list[Folder], listing: list[Folder]) -> ObjectDataset:
    """Reads a dataset.

    Args:
        root: Its folder.
        found: The folders of JSON files.
        listing: All its folders.

    Returns:
        The dataset.
    """
    dataset = ObjectDataset(FORMAT, root, {})
    reader = _Reader()
    images = Images(root, listing)
    splits: dict[str, list[Labelled]] = {}
    for one in _pairs(found, images, dataset):
        splits.setdefault(images.split(one.image, *one.files), []).append(one)
    read_splits(dataset, splits, reader, Classes(), found[0].path, order=str)
    dataset.notes += reader.notes()
    return dataset


def _pairs(found: list[Folder], images: Images, dataset: ObjectDataset) -> list[Labelled]:
    """Pairs the images with their JSON files; includes images without one beside them."""
    files: dict[Path, list[Path]] = {}
    elsewhere: list[Path] = []
    others = 0
    for folder in found:
        for path in folder.ending_in('.json'):
            try:
                named = _image_path(path)
            except ValueError as error:
                image = images.closest(path.stem, folder.path)
                if image is None and json_kind(path) != 'labelme':
                    others += 1
                    continue
                dataset.issues.add('unreadable-annotation', str(path), '', str(error))
                if image is not None:
                    files.setdefault(image, [])
                continue
            image, outside = _locate(images, path, named)
            if image is None:
                detail = f'names the image {short(named)}, which is not read: it is outside'
                detail += f' {images.root}' if outside else ' what a file can be called'
                dataset.issues.add('unused-annotation-file', str(path), '', detail)
                continue
            if outside:
                elsewhere.append(path)
            files.setdefault(image, []).append(path)
    if others:
        dataset.notes.append(f'{count_of(others, "JSON file")} left out: not LabelMe annotations.')
    if elsewhere:
        dataset.notes.append(
            f'{count_of(len(elsewhere), "LabelMe file")} with an imagePath outside {images.root}, '
            f'such as {elsewhere[0]}: the image of the same name in it is used.'
        )
    used = {image.parent for image in files} | {folder.path for folder in found}
    known = [path for path in images.paths if path.parent in used]
    missing = [path for path in files if path not in images.paths]
    return [Labelled(path, tuple(files.get(path, ()))) for path in (*known, *missing)]


def _locate(images: Images, path: Path, named: str) -> tuple[Path | None, bool]:
    """The image of a JSON file, and whether the file names one outside the dataset.

    The image need not exist; it is None if the name is that of no file in the dataset.
    """
    name = named.replace('\\', '/')
    absolute = name.startswith('/') or bool(PureWindowsPath(named).drive)
    wanted = None if absolute else inside(images.root, path.parent / name)
    outside = wanted is None
    if wanted in images.paths:
        return wanted, False
    for short_name in (PureWindowsPath(named).name, path.stem):
        if short_name and (image := images.closest(short_name, path.parent)):
            return image, outside
    name = PureWindowsPath(named).name
    if outside or not name or '\0' in name:
        return None, outside
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return None, False
    return path.parent / name, False


def _image_path(path: Path) -> str:
    """The name of its image in a JSON file.

    Raises:
        ValueError: There is none; the message completes the name of the file.
    """
    content = TextFiles().content(path, LARGEST)
    named = IMAGE_PATH.findall(content)
    if len(named) == 1 and b'\0' not in content:
        try:
            value = json.loads(named[0].decode('utf-8'))
        except ValueError:
            value = _parsed(content)[0].get('imagePath')
    else:
        value = _parsed(content)[0].get('imagePath')
    if not isinstance(value, str) or not value:
        raise ValueError('is not a LabelMe file: it has no imagePath')
    return value


def _parsed(content: bytes) -> tuple[dict[str, Any], str]:
    """The object in a JSON file, and its encoding.

    Raises:
        ValueError: It is none; the message completes the name of the file.
    """
    if len(content) > LARGEST_WITHOUT_IMAGE:
        content = COPY_OF_IMAGE.sub(b'"imageData": null', content)
        if len(content) > LARGEST_WITHOUT_IMAGE:
            raise ValueError(f'has more than {LARGEST_WITHOUT_IMAGE >> 20} MiB without its image')
    text, encoding = decode(content)
    try:
        value = json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError('is nested too deeply for a LabelMe file') from error
    except ValueError as error:
        raise ValueError(f'is not valid JSON: {error}') from error
    if not isinstance(value, dict):
        raise ValueError('is not a LabelMe file: it holds no object')
    return value, encoding


def _whole(digits: str) -> float:
    # Very long integers take Python a time that grows with their square.
    return int(digits) if len(digits) < DIGITS else math.inf


class _Reader:
    """Reads JSON files, and counts what it leaves out or converts."""

    def __init__(self) -> None:
        self.texts = TextFiles()
        self._ignored: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._rotated = 0

    def notes(self) -> list[str]:
        found = [*self.texts.notes(), 'LabelMe files store no crowd flags.']
        found += [
            f'{count_of(count, "shape")} with the label {label!r} left out: it is no class.'
            for label, count in self._ignored.items()
        ]
        found += [
            f'{count_of(count, "shape")} of type {kind} left out: read are polygons, rectangles '
            '(also rotated), circles and masks.'
            for kind, count in self._skipped.items()
        ]
        if self._rotated:
            found.append(f'{count_of(self._rotated, "rotated rectangle")} read as polygons.')
        return found

    def __call__(self, path: Path, size: tuple[int, int], issues: IssueList) -> Objects:
        objects = Objects()
        try:
            content, encoding = _parsed(self.texts.content(path, LARGEST))
        except ValueError as error:
            issues.add('unreadable-annotation', str(path), '', str(error))
            return objects
        self.texts.remember(path, encoding)
        width, height = _side(content.get('imageWidth')), _side(content.get('imageHeight'))
        objects.size = (width, height) if width and height else None
        shapes = content.get('shapes')
        if not isinstance(shapes, list):
            issues.add('unreadable-annotation', str(path), '', "has no list 'shapes'")
            return objects
        # Shapes with the same label and group form one object.
        groups: dict[object, list[tuple[str, str, dict[str, Any]]]] = {}
        for index, shape in enumerate(shapes):
            place = f'shapes[{index}]'
            try:
                label = _label(shape)
            except ValueError as error:
                issues.add('unreadable-annotation', str(path), place, str(error))
                continue
            if self._is_read(shape, label):
                group = shape.get('group_id')
                grouped = isinstance(group, (str, int, float))
                key = (label, group) if grouped else index
                groups.setdefault(key, []).append((place, label, shape))
        for members in groups.values():
            first, label, _ = members[0]
            where = first
            polygons: list[Polygon] = []
            masks: list[RunLengths] = []
            try:
                for place, _, shape in members:
                    where = place
                    self._draw(shape, objects.size or size, polygons, masks)
                mask = union(masks, polygons, objects.size or size) if masks else None
            except ValueError as error:
                issues.add('unreadable-annotation', str(path), where, str(error))
                continue
            regions = objects.others if _is_no_class(label) else objects.found
            regions.append(FoundObject(label, first, None, mask or polygons))
        return objects

    def _is_read(self, shape: dict[str, Any], label: str) -> bool:
        """Whether a shape is a region of a type that is read; counts what is no object."""
        if _is_no_class(label):
            self._ignored[label.strip()] += 1
        kind = _kind(shape)
        if kind in ('polygon', 'rectangle', 'circle', 'mask') or kind in ROTATED:
            return True
        self._skipped[short(kind)] += not _is_no_class(label)
        return False

    def _draw(
        self,
        shape: dict[str, Any],
        size: tuple[int, int],
        polygons: list[Polygon],
        masks: list[RunLengths],
    ) -> None:
        """Adds the polygon or mask of a shape; raises ValueError if it cannot be read."""
        kind = _kind(shape)
        values = _coordinates(shape)
        check_near(values, size)
        number = len(values) // 2
        if kind == 'mask':
            masks.append(_mask(shape, values, size))
        elif kind == 'circle':
            if number != 2:
                raise ValueError(f'has a circle of {count_of(number, "point")}: expected 2')
            polygon = circle(values[0], values[1], math.dist(values[:2], values[2:]))
            check_near(polygon, size)
            polygons.append(polygon)
        elif kind == 'rectangle' and number == 2:
            polygons.append(rectangle(*_ordered(values)))
        elif number < 3 or (kind != 'polygon' and number != 4):
            raise ValueError(f'has a {kind} of {count_of(number, "point")}')
        else:
            self._rotated += kind in ROTATED
            polygons.append(values)


def _ordered(corners: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _label(shape: object) -> str:
    if not isinstance(shape, dict):
        raise ValueError('is not an object')
    label = shape.get('label')
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        raise ValueError(f'has the label {shown(label)}')
    if not str(label).strip():
        raise ValueError('has an empty label')
    return str(label)


def _is_no_class(label: str) -> bool:
    return label.strip().lower() in NO_CLASSES


def _kind(shape: dict[str, Any]) -> str:
    """The type of a shape; old files have only polygons, and do not say so."""
    kind = shape.get('shape_type')
    return 'polygon' if kind is None else kind if isinstance(kind, str) else shown(kind)


def _coordinates(shape: dict[str, Any]) -> list[float]:
    points = shape.get('points')
    if not isinstance(points, list) or not all(
        isinstance(point, (list, tuple)) and len(point) == 2 for point in points
    ):
        raise ValueError('has points that are not a list of pairs of x and y')
    return numbers_of(value for point in points for value in point)


def _side(value: object) -> int:
    """A number of pixels; 0 if the value is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 0
    return int(value) if 1 <= value < LARGEST_SIDE else 0


def _mask(shape: dict[str, Any], values: list[float], size: tuple[int, int]) -> RunLengths:
    """Decodes a mask: a PNG of the pixels from its first point to its second, in base64."""
    data = shape.get('mask')
    if not isinstance(data, str) or len(values) != 4:
        raise ValueError('has a mask without an image and two points')
    x1, y1, x2, y2 = map(int, _ordered(values))
    wanted = (x2 - x1 + 1, y2 - y1 + 1)
    try:
        with Image.open(BytesIO(base64.b64decode(data)), formats=('PNG',)) as image:
            stored = image.size
            fits = stored == wanted and stored[0] * stored[1] <= MAX_PIXELS
            part = np.asarray(image.convert('L')) > 0 if fits else None
    except Exception as error:
        # Pillow's parsers raise all kinds of exceptions for a damaged image.
        raise ValueError('has a mask that is not a PNG image in base64') from error
    if part is None:
        raise ValueError(
            f'has a mask of {stored[0]}x{stored[1]} pixels, but its points are those of '
            f'{wanted[0]}x{wanted[1]}'
        )
    return placed_mask(part, (x1, y1), size)
