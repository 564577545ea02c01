"""Checks every record of a COCO annotation file and lists all issues.

What a run stops at, and what mmdet silently drops (boxes without area, objects of unknown images),
becomes an :class:`Issue` here that names the record.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from casvit.sentences import short
from casvit_mm.datasets.audit.coco_scan import CocoScan, box_corners, shown_box
from casvit_mm.datasets.audit.coco_shapes import (
    check_units,
    compare_with_masks,
    find_crossings,
    find_duplicates,
)
from casvit_mm.datasets.formats.coco.file import RecordId, is_id, is_number
from casvit_mm.datasets.issues import Effect
from casvit_mm.datasets.object_masks.coding import mask_issue
from casvit_mm.datasets.object_masks.polygons import encloses, is_polygon

# mmdet leaves out objects with either flag.
CROWD_FLAGS = ('iscrowd', 'ignore')
# Adds an issue of a kind to a record, with its detail.
AddIssue = Callable[[str, str], None]


def scan_coco(
    content: Mapping[str, Any],
    file: str,
    *,
    masks: bool | None = None,
    crossings: bool = True,
) -> CocoScan:
    """Checks every record.

    Args:
        content: The content of the file, as returned by :func:`load_coco`.
        file: Its path.
        masks: Whether objects need masks; if None, only those that there are have to be valid, and
            if False, not even those.
        crossings: Whether to compare objects with each other and boxes with masks as well, and look
            for polygons that cross themselves, which takes longest.

    Returns:
        The usable records and the issues.
    """
    scan = CocoScan(file)
    _scan_images(scan, content['images'])
    _scan_categories(scan, content['categories'])
    _scan_annotations(scan, content.get('annotations') or [], masks)
    compared = compare_with_masks(scan) if crossings else 0
    check_units(scan, corners=not compared)
    if crossings:
        find_duplicates(scan)
        if masks is not False:
            find_crossings(scan)
    return scan


def correct_mask_sizes(scan: CocoScan, sizes: Mapping[RecordId, tuple[int, int]]) -> None:
    """Compares run-length masks with the true sizes of their images, once these are known.

    Args:
        scan: The usable records, whose issues are changed.
        sizes: Width and height of the images that differ from what their records state, by id.
    """
    if not sizes:
        return
    reported = {i.index for i in scan.issues.issues if i.kind == 'rle-size'}
    right = set()
    for index, record in scan.annotations:
        value, size = record.get('segmentation'), sizes.get(record['image_id'])
        if size is None or not isinstance(value, Mapping) or mask_issue(value, size):
            continue
        if list(value['size']) == [size[1], size[0]]:
            right.add(index)
        elif index not in reported:
            scan.add('rle-size', 'annotations', index, record, _other_size(value['size'], size))
    scan.issues.issues[:] = [
        issue
        for issue in scan.issues.issues
        if issue.kind != 'rle-size' or issue.index not in right
    ]


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
    names: set[str] = set()
    for index, record in _complete_records(scan, 'categories', records, _CATEGORY):
        if record['id'] in scan.categories:
            detail = f'has the same id as {scan.categories[record["id"]]!r}'
            scan.add('double-id', 'categories', index, record, detail)
            continue
        if record['name'] in names:
            detail = f'has the name {record["name"]!r}, which another category already has'
            scan.add('double-name', 'categories', index, record, detail)
        names.add(record['name'])
        scan.categories[record['id']] = record['name']


def _scan_annotations(scan: CocoScan, records: Sequence[Any], masks: bool | None) -> None:
    seen: dict[RecordId, int] = {}
    for index, record in _complete_records(scan, 'annotations', records, _ANNOTATION):

        def add(kind: str, detail: str, index: int = index, record: object = record) -> None:
            scan.add(kind, 'annotations', index, record, detail)

        if record['id'] in seen:
            detail = f'has the same id as annotations[{seen[record["id"]]}]'
            # mmdet compares the number of annotations with that of their ids.
            scan.add('double-id', 'annotations', index, record, detail, Effect.STOPS)
        seen.setdefault(record['id'], index)
        if record['image_id'] not in scan.images:
            add('unknown-image', f'belongs to image_id {record["image_id"]!r}, which is not listed')
        if record['category_id'] not in scan.categories:
            key = record['category_id']
            add('unknown-category', f'has category_id {key!r}, which is not listed')
        crowd = next((flag for flag in CROWD_FLAGS if record.get(flag)), None)
        if crowd:
            add('crowd', f'has the flag {crowd!r}')
        if not all(map(is_number, record['bbox'])):
            add('nan-box', f'has bbox = {short(record["bbox"])}')
            continue
        if record['image_id'] not in scan.images:
            continue
        image = scan.images[record['image_id']][1]
        size = (image['width'], image['height'])
        fits = _check_box(record, size, add)
        if masks is not False:
            _check_mask(record, size, bool(masks), add)
        if record['category_id'] in scan.categories:
            scan.annotations.append((index, record))
            scan.learnable += fits and not crowd


def _check_box(record: Mapping[str, Any], size: tuple[int, int], add: AddIssue) -> bool:
    """Checks the box and area of an object; returns whether mmdet keeps it in training."""
    box, (width, height) = record['bbox'], size
    shown = f'has bbox = {shown_box(box)}'
    x1, y1, x2, y2 = box_corners(box)
    empty = box[2] == 0 or box[3] == 0
    outside = x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height
    if empty:
        add('empty-box', shown)
    elif outside:
        add('outside-box', f'{shown} in an image of {width}x{height}')
    else:
        if box[2] < 0 or box[3] < 0:
            add('swapped-box', shown)
        # Exporters round, so less than a pixel over the edge is not an issue.
        if min(x1, y1) < -1 or x2 > width + 1 or y2 > height + 1:
            add('partly-outside', f'{shown} in an image of {width}x{height}')
        if x2 - x1 < 1 or y2 - y1 < 1:
            add('tiny-box', shown)
    without_area = is_number(record.get('area', 1)) and record.get('area', 1) <= 0
    if without_area:
        add('no-area', f'has area = {record["area"]}')
    return not empty and not outside and not without_area and box[2] >= 1 and box[3] >= 1


def _check_mask(
    record: Mapping[str, Any], size: tuple[int, int], needed: bool, add: AddIssue
) -> None:
    value = record.get('segmentation')
    if not value:
        if needed:
            add('no-mask', 'has no segmentation')
    elif is_polygon(value):
        add('flat-polygon', f'has segmentation = {short(value)}, expected is [{short(value)}]')
    elif issue := mask_issue(value, size):
        add('broken-mask', issue)
    elif isinstance(value, Mapping):
        stated = value['size']
        if list(stated) != [size[1], size[0]]:
            add('rle-size', _other_size(stated, size))
    else:
        bad = [part for part in value if not encloses(part)]
        if bad:
            add('few-points', f'has a polygon of {short(bad[0])}')


def _other_size(stated: Sequence[int], size: tuple[int, int]) -> str:
    return f'has a mask of {stated[1]}x{stated[0]} in an image of {size[0]}x{size[1]}'


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


_IMAGE = dict(id=is_id, file_name=_is_name, width=_is_length, height=_is_length)
_CATEGORY = dict(id=is_id, name=_is_name)
_ANNOTATION = dict(id=is_id, image_id=is_id, category_id=is_id, bbox=_is_four_values)
