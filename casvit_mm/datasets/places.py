"""Where a record of a dataset comes from, as issues name it."""

from collections.abc import Mapping


def locate(file: str, key: str, index: int, record: object) -> tuple[str, str]:
    """Locates a record: its file, and its position in it.

    Args:
        file: The annotation file.
        key: Name of the list.
        index: Its position there.
        record: The record; its ``source`` is the place it was converted from, if any.
    """
    source = record.get('source') if isinstance(record, Mapping) else None
    if isinstance(source, Mapping) and {'file', 'record'} <= source.keys():
        return source['file'], source['record']
    name = record.get('id') if isinstance(record, Mapping) else None
    return file, f'{key}[{index}]' + ('' if name is None else f' (id {name!r})')
