"""Reads COCO annotation files, without checking their records."""

import gc
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from casvit.encodings import read_text
from casvit.errors import DatasetError

# The id of a record: COCO itself counts, other tools also write text.
RecordId = int | float | str


def load_coco(path: Path | str) -> tuple[dict[str, Any], str]:
    """Reads an annotation file without checking its records.

    Args:
        path: The file.

    Returns:
        Its content, in which ``images``, ``categories`` and ``annotations`` (if present) are lists;
        and the display name of its encoding if it is not plain UTF-8, else ''.

    Raises:
        DatasetError: The file cannot be read, is not JSON, or not in COCO format.
    """
    path = Path(path)
    with without_garbage_collection():
        content, encoding = _load_json(path)
    for key in ('images', 'categories', 'annotations'):
        if key != 'annotations' or content.get(key) is not None:
            _list(path, content, key)
    return content, encoding


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


def _load_json(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text, encoding = read_text(path)
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
        deep = isinstance(error, RecursionError)
        reason = 'its lists are nested too deeply' if deep else 'a number has too many digits'
        raise DatasetError(
            f'The annotation file {path} cannot be read: {reason}. A COCO annotation file is '
            'expected.'
        ) from error
    if isinstance(content, list):
        raise _not_coco(path, 'it is a list (of predictions?), not an object')
    if not isinstance(content, dict):
        raise _not_coco(path, f'it is {_kind(content)}, not an object')
    return content, encoding


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


def is_id(value: object) -> TypeGuard[RecordId]:
    """Whether a JSON value can be the id of a record."""
    return isinstance(value, (int, str, float)) and value == value


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # An integer of hundreds of digits.
        return False


def _kind(value: object) -> str:
    kinds = {dict: 'an object', list: 'a list', str: 'a string', bool: 'a boolean'}
    return 'null' if value is None else kinds.get(type(value), 'a number')
