"""Files that name the classes of semantic masks, with their colours or values."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit.encodings import read_text
from casvit.errors import DatasetError
from casvit.sentences import count_of, short, some
from casvit_mm.datasets.formats.semantic.known import Colour

# Legends with colours as a rule, and lists of names.
LEGENDS = (
    *('labelmap.txt', 'label_colors.txt', 'label_colours.txt', 'legend.txt', 'legend.csv'),
    *('legend.json', 'class_dict.csv', '_classes.csv', 'classes.csv', 'labelmap.csv'),
    *('label_map.txt', 'label_map.csv', 'colormap.txt', 'colormap.csv', 'objectInfo150.txt'),
)
NAMES = (
    *('classes.txt', 'class_names.txt', 'names.txt', 'labels.txt', 'label_names.txt'),
    *('obj.names', 'categories.txt', 'class_names.csv', 'names.csv', 'classes.json'),
)
IGNORED_NAMES = frozenset(('void', 'ignore', 'ignored', 'unlabeled', 'unlabelled', '255'))
# LabelMe's name for marks that are left out; first in its lists, for the value -1.
IGNORE_MARK = '__ignore__'
COLOUR = r'(\d+)[ ,\t]+(\d+)[ ,\t]+(\d+)'
VALUE_COLOUR_NAME = re.compile(rf'\s*(\d+)[ ,\t:]+{COLOUR}[ ,\t]+(\S.*?)\s*$')
COLOUR_NAME = re.compile(rf'\s*{COLOUR}[ ,\t]+(\S.*?)\s*$')
NAME_COLON_COLOUR = re.compile(r'\s*([^:]+):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?$')
NAME_COLOUR = re.compile(rf'\s*([^\d\s].*?)[ ,\t]+{COLOUR}\s*$')
VALUE_NAME = re.compile(r'\s*(\d+)(?:\s*[:,;\t]\s*|\s+)(\S.*?)\s*$')


@dataclass(frozen=True)
class ClassEntry:
    """A class of a legend: its name, and its RGB colour and value in masks if they are given."""

    name: str
    colour: Colour | None = None
    value: int | None = None


@dataclass
class ClassList:
    """The classes that a file names.

    Attributes:
        file: The file.
        entries: The classes, in order.
        notes: Remarks on how it was read.
    """

    file: Path
    entries: list[ClassEntry]
    notes: list[str] = field(default_factory=list)

    @property
    def has_colours(self) -> bool:
        """Whether every class has a colour."""
        return bool(self.entries) and all(entry.colour is not None for entry in self.entries)


def read_legend(path: Path) -> list[tuple[str, Colour | None]]:
    """Reads the names and colours of classes, in order; see :func:`read_classes`."""
    return [(entry.name, entry.colour) for entry in read_classes(path).entries]


def read_classes(path: Path) -> ClassList:
    """Reads the names, colours and values of classes, in order.

    Supported are lines of ``name:r,g,b`` (CVAT), ``r g b name`` (CamVid), ``name r g b``,
    ``value name`` and ``name``; tables with a header (ADE20K's ``objectInfo150.txt``, Roboflow,
    ``name,r,g,b``); and JSON with names and colours.

    Args:
        path: The file.

    Raises:
        DatasetError: The file cannot be read, or has another format.
    """
    try:
        text, encoding = read_text(path)
    except OSError as error:
        raise DatasetError(f'The legend {path} cannot be read: {error.strerror}.') from error
    except ValueError as error:
        raise DatasetError(f'The legend {path} {error}.') from error
    found = ClassList(path, [])
    if encoding:
        found.notes.append(f'{path} was read as {encoding}.')
    if path.suffix.lower() == '.json':
        found.entries = _json_entries(path, text)
    elif path.suffix.lower() == '.csv' or _is_table(text):
        found.entries = _table_entries(path, text)
    else:
        found.entries = _line_entries(path, text)
    _strip(found)
    return found


def look_for(root: Path, masks: list[Path], names: Iterable[str]) -> Path | None:
    """Looks for a legend in the root of a dataset, in its folders, and in those around the masks.

    Args:
        root: The folder of the dataset.
        masks: Its semantic masks.
        names: Names of files, the best one first; upper and lower case are the same.
    """
    folders = {root: None, **dict.fromkeys(sorted(p for p in root.iterdir() if p.is_dir()))}
    for mask in masks:
        for folder in mask.parents:
            if folder in folders:
                break
            folders[folder] = None
    by_name = {folder: {path.name.lower(): path for path in folder.iterdir()} for folder in folders}
    for name in names:
        for folder in folders:
            path = by_name[folder].get(name.lower())
            if path is not None and path.is_file():
                return path
    return None


def _strip(found: ClassList) -> None:
    """Strips the names, and leaves out LabelMe's mark for what is ignored."""
    spaced = [entry.name for entry in found.entries if entry.name != entry.name.strip()]
    found.entries = [ClassEntry(e.name.strip(), e.colour, e.value) for e in found.entries]
    if spaced:
        found.notes.append(
            f'Spaces around {count_of(len(spaced), "class name")} in {found.file} are left out: '
            f'{some(spaced)}.'
        )
    first = found.entries[0] if found.entries else None
    if first and first.name == IGNORE_MARK and first.value in (None, 0, -1):
        shift = 1 if first.value == 0 else 0
        found.entries = [
            ClassEntry(e.name, e.colour, None if e.value is None else e.value - shift)
            for e in found.entries[1:]
        ]
        found.notes.append(
            f'{IGNORE_MARK!r} in {found.file} is no class: the value of the first class after it '
            'is 0.'
        )


def _line_entries(path: Path, text: str) -> list[ClassEntry]:
    lines = [
        (number, line)
        for number, line in enumerate(text.split('\n'), 1)
        if line.strip() and not line.startswith('#')
    ]
    numbered = [VALUE_NAME.match(line) for _, line in lines]
    if all(numbered) and not any(COLOUR_NAME.match(line) for _, line in lines):
        entries = [ClassEntry(m[2], None, int(m[1])) for m in numbered if m]
        if _in_order([entry.value for entry in entries]):
            return entries
    return [_line_entry(line, path, number) for number, line in lines]


def _in_order(values: Sequence[int | None]) -> bool:
    """Whether values count up from 0 or 1."""
    return list(values) in (
        list(range(len(values))),
        list(range(1, len(values) + 1)),
    )


def _line_entry(line: str, path: Path, number: int) -> ClassEntry:
    if found := VALUE_COLOUR_NAME.match(line):
        return ClassEntry(found[5], _colour(found.groups()[1:4], path, number), int(found[1]))
    if found := COLOUR_NAME.match(line):
        return ClassEntry(found[4], _colour(found.groups()[:3], path, number))
    if found := NAME_COLON_COLOUR.match(line):
        return ClassEntry(found[1], _colour(found.groups()[1:4], path, number))
    if found := NAME_COLOUR.match(line):
        return ClassEntry(found[1], _colour(found.groups()[1:4], path, number))
    if re.search(COLOUR, line):
        raise DatasetError(f'Line {number} of the legend {path} cannot be parsed: {line!r}.')
    return ClassEntry(line)


def _json_entries(path: Path, text: str) -> list[ClassEntry]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f'The legend {path} is not JSON: {short(str(error))}.') from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [ClassEntry(name) for name in content]
    if isinstance(content, dict) and content:
        if all(isinstance(colour, list) and len(colour) == 3 for colour in content.values()):
            return [
                ClassEntry(str(name), _colour(colour, path, number))
                for number, (name, colour) in enumerate(content.items(), 1)
            ]
        if all(isinstance(n, str) and re.fullmatch(r'\d{1,9}', k) for k, n in content.items()):
            return _ordered([ClassEntry(name, None, int(key)) for key, name in content.items()])
    raise DatasetError(
        f'The legend {path} is neither {{"name": [red, green, blue], …}} nor a list of names.'
    )


def _is_table(text: str) -> bool:
    """Whether a text starts with headings in columns, as ADE20K's list does."""
    headings = [cell.strip().lower() for cell in text.lstrip().split('\n', 1)[0].split('\t')]
    return len(headings) > 1 and any('name' in heading for heading in headings)


def _table_entries(path: Path, text: str) -> list[ClassEntry]:
    first = text.lstrip().split('\n', 1)[0]
    delimiter = max(',\t;', key=first.count)
    rows = [row for row in csv.reader(text.split('\n'), delimiter=delimiter) if any(row)]
    if not rows:
        return []
    heading = [cell.strip().lower() for cell in rows[0]]
    columns = _columns(heading)
    body = list(enumerate(rows[1:], 2))
    if columns is None:
        columns, body = _columns_without_heading(rows), list(enumerate(rows, 1))
    if columns is None or 'name' not in columns:
        raise DatasetError(
            f'The legend {path} is neither a table name,r,g,b nor a table value,name of all values.'
        )
    entries = []
    for number, row in body:
        if len(row) <= max(columns.values()):
            raise DatasetError(f'Row {number} of the legend {path} has too few cells: {row}.')
        colour, value = None, None
        if 'r' in columns:
            colour = _colour([row[columns[c]].strip() for c in 'rgb'], path, number)
        if 'value' in columns:
            cell = row[columns['value']].strip()
            if not re.fullmatch(r'-?\d{1,9}', cell):
                raise DatasetError(f'Row {number} of the legend {path} has the value {cell!r}.')
            value = int(cell)
        entries.append(ClassEntry(row[columns['name']], colour, value))
    if path.name.lower() == 'objectinfo150.txt':
        entries = _first_synonyms(entries)
    return _ordered(entries)


def _columns(heading: list[str]) -> dict[str, int] | None:
    """The columns that a heading names; None if it is no heading."""
    columns: dict[str, int] = {}
    for index, cell in enumerate(heading):
        if cell[:1] in 'rgb' and cell in ('r', 'g', 'b', 'red', 'green', 'blue'):
            columns.setdefault(cell[0], index)
        elif re.search(r'\b(idx|id|index|value|pixel|pixel value|label id|train id)\b', cell):
            columns.setdefault('value', index)
    for words in (('name',), ('class', 'category'), ('label',)):
        for index, cell in enumerate(heading):
            if index not in columns.values() and any(word in cell for word in words):
                columns.setdefault('name', index)
    if not columns.keys() & {'name', 'value', 'r'}:
        return None
    if columns.keys() & set('rgb') and not columns.keys() >= set('rgb'):
        columns = {key: index for key, index in columns.items() if key not in 'rgb'}
    return columns


def _columns_without_heading(rows: list[list[str]]) -> dict[str, int] | None:
    """The columns of a table without headings, from what they hold."""
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        return None
    numbers = [all(row[i].strip().isdigit() for row in rows) for i in range(width)]
    texts = [index for index, number in enumerate(numbers) if not number]
    if len(texts) != 1:
        return None
    others = [index for index, number in enumerate(numbers) if number]
    if len(others) >= 3:
        named = dict(zip('rgb', others[-3:], strict=True))
        return dict(name=texts[0], **named, **({'value': others[0]} if len(others) > 3 else {}))
    return dict(name=texts[0], **({'value': others[0]} if others else {}))


def _first_synonyms(entries: list[ClassEntry]) -> list[ClassEntry]:
    """Shortens names to their first synonym if they stay unique."""
    firsts = [entry.name.split(',')[0].strip() for entry in entries]
    times = Counter(firsts)
    return [
        ClassEntry(first if times[first] == 1 else entry.name, entry.colour, entry.value)
        for first, entry in zip(firsts, entries, strict=True)
    ]


def _ordered(entries: list[ClassEntry]) -> list[ClassEntry]:
    """Sorts classes by their values, if they have any."""
    return sorted(entries, key=lambda entry: entry.value or 0)


def _colour(values: Iterable[Any], path: Path, line: int) -> Colour:
    try:
        red, green, blue = (int(str(value)) for value in values)
    except ValueError:
        red = -1
    if red < 0 or not all(0 <= value <= 255 for value in (red, green, blue)):
        raise DatasetError(f'Line {line} of the legend {path} has no colour from 0 to 255.')
    return red, green, blue
