"""LabelMe: one JSON file per image, in the same folder."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from casvit.sentences import count_of
from casvit_mm.datasets.formats.coco import json_kind
from casvit_mm.datasets.formats.dataset import ObjectDataset, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.objects import (
    Labelled,
    Objects,
    add,
    check_coordinates,
    read_splits,
    require_supervision,
)
from casvit_mm.datasets.issues import IssueList

FORMAT = 'LabelMe'


def find(listing: Iterable[Folder]) -> list[Folder]:
    """Finds the folders that hold LabelMe JSON files."""
    return [
        folder
        for folder in listing
        if any(json_kind(path) == 'labelme' for path in folder.ending_in('.json')[:3])
    ]


def read(root: Path, listing: list[Folder]) -> ObjectDataset:
    """Reads a dataset.

    Args:
        root: Its folder.
        listing: The folders of JSON files.

    Returns:
        The dataset.

    Raises:
        DatasetError: `supervision` is missing.
    """
    require_supervision()
    dataset = ObjectDataset(FORMAT, root, {})
    skipped: dict[str, int] = {}
    splits: dict[str, list[Labelled]] = {}
    for folder in listing:
        name = split_of(*folder.path.relative_to(root).parts)
        splits.setdefault(name, []).extend(_pairs(folder, dataset.issues))

    def reader(path: Path, size: tuple[int, int], issues: IssueList) -> Objects:
        return _read_file(path, size, issues, skipped)

    read_splits(dataset, splits, reader, listing[0].path)
    dataset.notes.append('LabelMe files store no crowd flags.')
    for kind, count in skipped.items():
        dataset.notes.append(
            f'{count_of(count, "shape")} of type {kind!r} left out: only rectangles and polygons '
            'are read.'
        )
    return dataset


def _pairs(folder: Folder, issues: IssueList) -> list[Labelled]:
    """Pairs the images of a folder with their JSON files; includes images without one."""
    images = {path.name: path for path in folder.images}
    pairs, paired = [], set()
    for path in folder.ending_in('.json'):
        try:
            content = json.loads(path.read_bytes())
            name = PureWindowsPath(content['imagePath']).name
        except (OSError, ValueError, KeyError, TypeError):
            issues.add('broken-record', str(path), '', 'is not a LabelMe file: it has no imagePath')
            continue
        beside = next((n for n in images if Path(n).stem == path.stem), name)
        name = name if name in images else beside
        pairs.append(Labelled(images.get(name, folder.path / name), path))
        paired.add(name)
    return pairs + [Labelled(path, None) for name, path in images.items() if name not in paired]


def _read_file(
    path: Path, size: tuple[int, int], issues: IssueList, skipped: dict[str, int]
) -> Objects:
    from supervision.dataset.formats.labelme import (
        SUPPORTED_SHAPE_TYPES,
        labelme_shapes_to_detections,
    )

    content = json.loads(path.read_bytes())
    objects = Objects()
    width, height = content.get('imageWidth'), content.get('imageHeight')
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        objects.size = (width, height)
    shapes = content.get('shapes')
    if not isinstance(shapes, list):
        issues.add('broken-record', str(path), '', "has no list 'shapes'")
        return objects
    # Shapes with the same label and group form one object.
    groups: dict[object, list[tuple[int, dict]]] = {}
    for index, shape in enumerate(shapes):
        if not isinstance(shape, dict):
            issues.add('broken-record', str(path), f'shapes[{index}]', 'is not an object')
            continue
        if shape.get('shape_type') not in SUPPORTED_SHAPE_TYPES:
            kind = str(shape.get('shape_type'))
            skipped[kind] = skipped.get(kind, 0) + 1
            continue
        group = shape.get('group_id')
        key = index if group is None else (str(shape.get('label')), str(group))
        groups.setdefault(key, []).append((index, shape))
    for members in groups.values():
        where = f'shapes[{members[0][0]}]'
        label = str(members[0][1].get('label'))
        has_polygon = any(shape['shape_type'] == 'polygon' for _, shape in members)
        try:
            for _, shape in members:
                check_coordinates((value for point in shape['points'] for value in point), size)
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                found = labelme_shapes_to_detections(
                    [shape for _, shape in members], {label: 0}, size, has_polygon
                )
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            issues.add('broken-record', str(path), where, f'cannot be read: {error}')
            continue
        add(objects, found, label, where, with_mask=has_polygon)
    return objects
