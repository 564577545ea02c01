"""Reads COCO annotation files and names the first invalid record."""

import gc
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from casvit.encodings import read_text
from casvit.errors import DatasetError
from casvit.sentences import short

# The id of a record: COCO itself counts, other tools also write text.
RecordId = int | float | str


@dataclass(frozen=True)
class CocoFile:
    """A summary of an annotation file.

    Attributes:
        path: The file.
        names: File names of its images.
        categories: Names of its categories by id, in the file's order.
        objects: Number of annotations by category id, without strays.
        strays: Number of annotations whose image or category is not in the file.
    """

    path: Path
    names: list[str]
    categories: dict[RecordId, str]
    objects: dict[RecordId, int]
    strays: int


def read_coco(
    path: Path | str,
    content: dict[str, Any] | None = None,
    *,
    annotated: bool = True,
    with_mask: bool = False,
    with_iscrowd: bool = False,
) -> CocoFile:
    """Reads an annotation file and checks every record.

    Args:
        path: The file.
        content: Its content, as returned by :func:`load_coco`; read from the file if None.
        annotated: Whether annotations are required; lists of test images have none.
        with_mask: Whether annotations need a segmentation.
        with_iscrowd: Whether annotations need ``iscrowd``, which the COCO evaluation reads.

    Returns:
        A summary.

    Raises:
        DatasetError: The file cannot be read, is not JSON, or not in COCO format; the message names
            the first invalid record.
    """
    path = Path(path)
    with without_garbage_collection():
        content = _load_json(path) if content is None else content
        return _summary(path, content, annotated, with_mask, with_iscrowd)


def load_coco(path: Path | str) -> dict[str, Any]:
    """Reads an annotation file without checking its records.

    Args:
        path: The file.

    Returns:
        Its content, in which ``images``, ``categories`` and ``annotations`` (if present) are lists.

    Raises:
        DatasetError: The file cannot be read, is not JSON, or not in COCO format.
    """
    path = Path(path)
    with without_garbage_collection():
        content = _load_json(path)
    for key in ('images', 'categories', 'annotations'):
        if key != 'annotations' or content.get(key) is not None:
            _list(path, content, key)
    return content


def _summary(
    path: Path, content: dict[str, Any], annotated: bool, with_mask: bool, with_iscrowd: bool
) -> CocoFile:
    images = _records(path, content, 'images')
    names, image_ids = _images(path, images)
    categories = _categories(path, _records(path, content, 'categories'))
    if not annotated and content.get('annotations') is None:
        return CocoFile(path, names, categories, {}, 0)
    needed = ['segmentation'] if with_mask else []
    needed += ['iscrowd'] if with_iscrowd else []
    annotations = _records(path, content, 'annotations')
    objects, strays = _annotations(path, annotations, image_ids, categories, needed)
    return CocoFile(path, names, categories, objects, strays)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pauses garbage collection: a file as large as COCO's loads in half the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load_json(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path)[0]
    except OSError as error:
        raise DatasetError(
            f'The annotation file {path} cannot be read: {error.strerror or error}.'
        ) from error
    except ValueError as error:
        raise DatasetError(
            f'The annotation file {path} is not JSON text: it {error}. A COCO annotation file is '
            'expected.'
        ) from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f'The annotation file {path} is not JSON: {error.msg} '
            f'(line {error.lineno}, column {error.colno}). A COCO annotation file is expected.'
        ) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f'The annotation file {path} is not JSON text. A COCO annotation file is expected.'
        ) from error
    if isinstance(content, list):
        raise _not_coco(path, 'it is a list (of predictions?), not an object')
    if not isinstance(content, dict):
        raise _not_coco(path, f'it is {_kind(content)}, not an object')
    return content


def _not_coco(path: Path, reason: str) -> DatasetError:
    return DatasetError(
        f'The annotation file {path} is JSON, but not a COCO annotation file: {reason}. '
        "It needs the lists 'images', 'annotations' and 'categories': "
        'https://cocodataset.org/#format-data'
    )


def _list(path: Path, content: dict[str, Any], key: str) -> list[Any]:
    if key not in content:
        found = ', '.join(map(repr, list(content)[:8])) or 'nothing'
        raise _not_coco(path, f'{key!r} is missing (found: {found})')
    records = content[key]
    if not isinstance(records, list):
        raise _not_coco(path, f'{key!r} is {_kind(records)}, not a list')
    return records


def _records(path: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    records = _list(path, content, key)
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise _record_error(path, key, index, {}, f'is {_kind(record)}, not an object')
    if not records and key != 'annotations':
        raise DatasetError(f'The annotation file {path} lists no {key}.')
    return records


def _images(path: Path, records: list[dict[str, Any]]) -> tuple[list[str], set[RecordId]]:
    ids = _unique_ids(path, 'images', records, ('file_name', 'width', 'height'))
    for index, record in enumerate(records):
        if not isinstance(record['file_name'], str) or not record['file_name']:
            raise _record_error(
                path, 'images', index, record, _not_a('file_name', record, 'a file name')
            )
        for key in ('width', 'height'):
            if not is_number(record[key]) or record[key] <= 0:
                reason = _not_a(key, record, 'a number of pixels')
                raise _record_error(path, 'images', index, record, reason)
    return [record['file_name'] for record in records], ids


def _categories(path: Path, records: list[dict[str, Any]]) -> dict[RecordId, str]:
    _unique_ids(path, 'categories', records, ('name',))
    names: dict[str, RecordId] = {}
    for index, record in enumerate(records):
        name = record['name']
        if not isinstance(name, str):
            raise _record_error(
                path, 'categories', index, record, _not_a('name', record, 'a string')
            )
        if name in names:
            raise _record_error(
                path,
                'categories',
                index,
                record,
                f'has the name {name!r}, which the category with id {names[name]!r} already has; '
                'category names must be unique',
            )
        names[name] = record['id']
    return {record['id']: record['name'] for record in records}


def _annotations(
    path: Path,
    records: list[dict[str, Any]],
    image_ids: set[RecordId],
    categories: dict[RecordId, str],
    needed: list[str],
) -> tuple[dict[RecordId, int], int]:
    keys = ('image_id', 'category_id', 'bbox', 'area', *needed)
    _unique_ids(path, 'annotations', records, keys)
    objects = dict.fromkeys(categories, 0)
    strays = 0
    for index, record in enumerate(records):
        box = record['bbox']
        if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
            reason = _not_a('bbox', record, 'four numbers: x, y, width, height')
            raise _record_error(path, 'annotations', index, record, reason)
        if not is_number(record['area']):
            raise _record_error(
                path, 'annotations', index, record, _not_a('area', record, 'a number')
            )
        for key in ('image_id', 'category_id'):
            if not isinstance(record[key], (int, float, str)):
                raise _record_error(
                    path, 'annotations', index, record, _not_a(key, record, 'an id')
                )
        if 'segmentation' in needed and not _is_segmentation(record['segmentation']):
            reason = _not_a('segmentation', record, 'a list of polygons, or run lengths')
            raise _record_error(path, 'annotations', index, record, reason)
        if record['image_id'] in image_ids and record['category_id'] in categories:
            objects[record['category_id']] += 1
        else:
            strays += 1
    return objects, strays


def _unique_ids(
    path: Path, key: str, records: list[dict[str, Any]], fields: Iterable[str]
) -> set[RecordId]:
    """Checks the fields that every record needs, and that ids are unique."""
    seen: set[RecordId] = set()
    needed = ('id', *fields)
    for index, record in enumerate(records):
        for field in needed:
            if field not in record:
                hint = ' (0 for an ordinary object)' if field == 'iscrowd' else ''
                raise _record_error(path, key, index, record, f'has no {field!r}{hint}')
        if not isinstance(record['id'], (int, float, str)):
            raise _record_error(path, key, index, record, _not_a('id', record, 'a number'))
        if record['id'] in seen:
            reason = 'has an id that an earlier record already has'
            raise _record_error(path, key, index, record, reason)
        seen.add(record['id'])
    return seen


def _record_error(
    path: Path, key: str, index: int, record: dict[str, Any], what: str
) -> DatasetError:
    name = f' (id {record["id"]!r})' if 'id' in record else ''
    return DatasetError(f'The annotation file {path} is damaged: {key}[{index}]{name} {what}.')


def _not_a(field: str, record: dict[str, Any], wanted: str) -> str:
    return f'has {field} = {short(record[field])}, which is not {wanted}'


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # An integer of hundreds of digits.
        return False


def _is_segmentation(value: object) -> bool:
    return isinstance(value, (list, dict)) and bool(value)


def _kind(value: object) -> str:
    kinds = {dict: 'an object', list: 'a list', str: 'a string', bool: 'a boolean'}
    return 'null' if value is None else kinds.get(type(value), 'a number')
