"""Checks every record of a COCO annotation file and lists all issues.

What `read_coco` stops at, and what mmdet silently drops (boxes without area, objects of unknown
images), becomes an :class:`Issue` here that names the record.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from casvit.sentences import short
from casvit_mm.datasets.formats.coco_file import RecordId, is_number
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.object_masks.coding import mask_issue
from casvit_mm.datasets.object_masks.polygons import encloses, polygons_of
from casvit_mm.datasets.places import locate

Box = tuple[float, float, float, float]
# Adds an issue of a kind to a record, with its detail.
AddIssue = Callable[[str, str], None]


@dataclass
class CocoScan:
    """The usable records of an annotation file, and the issues of the others.

    Attributes:
        file: Its path, as issues name it.
        images: Image records by id, with their position in the file.
        categories: Names by id, in the file's order.
        annotations: Annotations of known images and categories whose box is four finite numbers,
            with their position in the file.
        issues: All issues found.
    """

    file: str
    images: dict[RecordId, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    categories: dict[RecordId, str] = field(default_factory=dict)
    annotations: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    issues: IssueList = field(default_factory=IssueList)

    def add(self, kind: str, group: str, index: int, record: object, detail: str) -> None:
        """Adds an issue with a record.

        Args:
            kind: Its kind.
            group: Name of the list that contains the record.
            index: Its position in that list.
            record: The record.
            detail: What is wrong with it.
        """
        self.issues.add(kind, *locate(self.file, group, index, record), detail, group, index)


def scan_coco(
    content: Mapping[str, Any], file: str, *, masks: bool = False, crossings: bool = True
) -> CocoScan:
    """Checks every record.

    Args:
        content: The content of the file, as returned by :func:`load_coco`.
        file: Its path.
        masks: Whether objects need masks.
        crossings: Whether to look for polygons that cross themselves, which takes longest.

    Returns:
        The usable records and the issues.
    """
    scan = CocoScan(file)
    _scan_images(scan, content['images'])
    _scan_categories(scan, content['categories'])
    _scan_annotations(scan, content.get('annotations') or [], masks)
    if crossings:
        _scan_polygons(scan)
    return scan


def box_corners(box: Sequence[float]) -> Box:
    """Ordered corners ``x1, y1, x2, y2`` of a COCO box ``x, y, width, height``."""
    x, y, width, height = box
    return min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height)


def _scan_images(scan: CocoScan, records: Sequence[Any]) -> None:
    names: dict[str, int] = {}
    for index, record in _complete_records(scan, 'images', records, _IMAGE):
        if record['id'] in scan.images:
            first = scan.images[record['id']][0]
            detail = f'has the same id as images[{first}]'
            scan.add('double-id', 'images', index, record, detail)
            continue
        name = record['file_name']
        if name in names:
            detail = f'lists {name!r}, as images[{names[name]}] does'
            scan.add('listed-twice', 'images', index, record, detail)
        names.setdefault(name, index)
        scan.images[record['id']] = (index, record)


def _scan_categories(scan: CocoScan, records: Sequence[Any]) -> None:
    for index, record in _complete_records(scan, 'categories', records, _CATEGORY):
        if record['id'] in scan.categories:
            detail = f'has the same id as {scan.categories[record["id"]]!r}'
            scan.add('double-id', 'categories', index, record, detail)
            continue
        if record['name'] in scan.categories.values():
            detail = f'has the name {record["name"]!r}, which another category already has'
            scan.add('double-name', 'categories', index, record, detail)
        scan.categories[record['id']] = record['name']


def _scan_annotations(scan: CocoScan, records: Sequence[Any], masks: bool) -> None:
    seen: dict[RecordId, int] = {}
    for index, record in _complete_records(scan, 'annotations', records, _ANNOTATION):

        def add(kind: str, detail: str, index: int = index, record: object = record) -> None:
            scan.add(kind, 'annotations', index, record, detail)

        if record['id'] in seen:
            add('double-id', f'has the same id as annotations[{seen[record["id"]]}]')
        seen.setdefault(record['id'], index)
        if record['image_id'] not in scan.images:
            add('unknown-image', f'belongs to image_id {record["image_id"]!r}, which is not listed')
        if record['category_id'] not in scan.categories:
            key = record['category_id']
            add('unknown-category', f'has category_id {key!r}, which is not listed')
        if record.get('iscrowd'):
            add('crowd', 'has the crowd flag')
        if not all(map(is_number, record['bbox'])):
            add('nan-box', f'has bbox = {short(record["bbox"])}')
            continue
        if record['image_id'] not in scan.images:
            continue
        image = scan.images[record['image_id']][1]
        size = (image['width'], image['height'])
        _check_box(record, size, add)
        _check_mask(record, size, masks, add)
        if record['category_id'] in scan.categories:
            scan.annotations.append((index, record))


def _check_box(record: Mapping[str, Any], size: tuple[int, int], add: AddIssue) -> None:
    box, (width, height) = record['bbox'], size
    shown = f'has bbox = {short(box)}'
    x1, y1, x2, y2 = box_corners(box)
    if box[2] == 0 or box[3] == 0:
        add('empty-box', shown)
    elif x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        add('outside-box', f'{shown} in an image of {width}x{height}')
    else:
        if box[2] < 0 or box[3] < 0:
            add('swapped-box', shown)
        # Exporters round, so less than a pixel over the edge is not an issue.
        if min(x1, y1) < -1 or x2 > width + 1 or y2 > height + 1:
            add('partly-outside', f'{shown} in an image of {width}x{height}')
        if x2 - x1 < 1 or y2 - y1 < 1:
            add('tiny-box', shown)
    if is_number(record.get('area', 1)) and record.get('area', 1) <= 0:
        add('no-area', f'has area = {record["area"]}')


def _check_mask(
    record: Mapping[str, Any], size: tuple[int, int], needed: bool, add: AddIssue
) -> None:
    value = record.get('segmentation')
    if not value:
        if needed:
            add('no-mask', 'has no segmentation')
    elif issue := mask_issue(value, size):
        add('broken-mask', issue)
    elif isinstance(value, Mapping):
        stated = value['size']
        if list(stated) != [size[1], size[0]]:
            detail = f'has a mask of {stated[1]}x{stated[0]} in an image of {size[0]}x{size[1]}'
            add('rle-size', detail)
    else:
        bad = [part for part in value if not encloses(part)]
        if bad:
            add('few-points', f'has a polygon of {short(bad[0])}')


def _scan_polygons(scan: CocoScan) -> None:
    """Finds polygons that cross themselves; in one batch, since one by one is far slower."""
    points: list[np.ndarray] = []
    rings: list[np.ndarray] = []
    owners: list[int] = []
    for position, (_, record) in enumerate(scan.annotations):
        for part in polygons_of(record.get('segmentation')):
            corners = np.asarray(part, float).reshape(-1, 2)
            points.append(corners)
            rings.append(np.full(len(corners), len(owners)))
            owners.append(position)
    if not owners:
        return
    shapes = shapely.polygons(
        shapely.linearrings(np.concatenate(points), indices=np.concatenate(rings))
    )
    crossing = ~shapely.is_valid(shapes)
    for position in sorted({owners[ring] for ring in np.flatnonzero(crossing)}):
        index, record = scan.annotations[position]
        detail = 'has a polygon that crosses itself'
        scan.add('self-crossing', 'annotations', index, record, detail)


def _complete_records(
    scan: CocoScan, key: str, records: Sequence[Any], fields: Mapping[str, Callable[[object], bool]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the records that have all fields; adds an issue for each of the others."""
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            scan.add('broken-record', key, index, record, 'is not an object')
            continue
        for name, fits in fields.items():
            if name not in record:
                detail = f'has no {name!r}'
            elif not fits(record[name]):
                detail = f'has {name} = {short(record[name])}'
            else:
                continue
            scan.add('broken-record', key, index, record, detail)
            break
        else:
            yield index, record


def _is_id(value: object) -> bool:
    return isinstance(value, (int, str, float)) and value == value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_length(value: object) -> bool:
    return is_number(value) and value > 0


def _is_four_values(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(number, (int, float)) for number in value)
    )


_IMAGE = dict(id=_is_id, file_name=_is_name, width=_is_length, height=_is_length)
_CATEGORY = dict(id=_is_id, name=_is_name)
_ANNOTATION = dict(id=_is_id, image_id=_is_id, category_id=_is_id, bbox=_is_four_values)
