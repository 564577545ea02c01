"""The description of a YOLO dataset: ``data.yaml``, ``obj.data``, or a file of class names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from casvit.errors import DatasetError
from casvit.sentences import short
from casvit_mm.datasets.formats.dataset import SPLIT_NAMES
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.yolo.files import class_files
from casvit_mm.datasets.object_masks.shapes import shown
from casvit_mm.datasets.text_files import TextFiles

# Only text, so that a class called no stays one; in C, since 100,000 names take Python seconds.
LOADER: Any = getattr(yaml, 'CBaseLoader', yaml.BaseLoader)
LARGEST = 2**24
# The C parser goes one call deeper for each bracket.
MOST_NESTED = 200
# Of a folder with many other files of this type.
LOOKED_INTO = 50
CALLED = ('data', 'dataset')
# Tools write these with the labels; others may be left over from elsewhere.
WRITTEN_WITH_LABELS = ('classes.txt', 'obj.names', '_darknet.labels')
NOT_GIVEN = ('', 'null', '~', 'none')


@dataclass
class Description:
    """What the files of a dataset say about it.

    Attributes:
        file: The file with the names of the classes; a folder of labels if there is none.
        splits_file: The file that names the splits.
        names: Names of the classes in the order of their numbers; None if no file has them.
        splits: Folders of images or lists of images by split, as written.
        base: The folder that they are relative to, as written.
        keypoints: Numbers of the keypoints of an object in a label file.
        differing: A second file that names other classes.
    """

    file: Path
    splits_file: Path
    names: list[str] | None = None
    splits: dict[str, list[str]] = field(default_factory=dict)
    base: str = ''
    keypoints: int = 0
    differing: Path | None = None


def described(listing: Iterable[Folder], texts: TextFiles) -> tuple[list[Path], dict[Path, str]]:
    """Finds the YAML files that describe a YOLO dataset.

    Returns:
        The files, best first; and why those cannot be read that are called like one.
    """
    found, broken = [], {}
    for folder in listing:
        for path in folder.ending_in('.yaml', '.yml')[:LOOKED_INTO]:
            try:
                content = read_yaml(path, texts)
            except ValueError as error:
                if path.stem.lower() in CALLED:
                    broken[path] = str(error)
                continue
            splits = sum(key in SPLIT_NAMES for key in content)
            if 'names' in content or (splits and 'nc' in content):
                known = path.stem.lower() in CALLED
                found.append((-splits, not known, len(path.parts), path))
    return [path for *_, path in sorted(found)], broken


def describe(file: Path, listing: list[Folder], texts: TextFiles) -> Description:
    """Collects what the files of a dataset say about it.

    Args:
        file: As returned by :func:`described`, a file of class names, or a folder of labels.
        listing: All folders.
        texts: Reads the files.

    Raises:
        DatasetError: The names of the classes are invalid, or a file cannot be read.
    """
    description = Description(file, file)
    if file.suffix.lower() in ('.yaml', '.yml'):
        _from_yaml(description, texts)
    else:
        _from_darknet(description, listing, texts)
    named = class_files(listing)
    for other in named:
        names = _lines(other, texts)
        if not description.names and names:
            description.names, description.file = names, other
        elif other.name in WRITTEN_WITH_LABELS and _differ(names, description.names or []):
            description.differing = other
            break
    return description


def read_yaml(path: Path, texts: TextFiles) -> dict[str, Any]:
    """Reads a YAML file whose top level is a mapping, with all values as text.

    Raises:
        ValueError: It is none; the message completes the name of the file.
    """
    text = texts.read(path, LARGEST)
    if _depth(text) > MOST_NESTED:
        raise ValueError('is nested too deeply')
    content = _loaded(text)
    if not isinstance(content, dict):
        raise ValueError('is not a description of a dataset')
    return {str(key): value for key, value in content.items()}


@lru_cache(maxsize=8)
def _loaded(text: str) -> Any:
    try:
        return yaml.load(text, Loader=LOADER)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = getattr(error, 'problem', None) or type(error).__name__
        mark = getattr(error, 'problem_mark', None)
        where = f' in line {mark.line + 1}' if mark else ''
        raise ValueError(f'is not valid YAML: {problem}{where}') from error


def _differ(names: list[str], others: list[str]) -> bool:
    return [name.strip() for name in names] != [name.strip() for name in others]


def _depth(text: str) -> int:
    """An upper bound on how deep collections are nested."""
    brackets = text.count('[') + text.count('{')
    indents = max((len(line) - len(line.lstrip(' -?:')) for line in text.split('\n')), default=0)
    return indents + (_nested(text) if brackets > MOST_NESTED // 2 else brackets)


def _nested(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in '[{':
            depth += 1
            deepest = max(deepest, depth)
        elif character in ']}' and depth:
            depth -= 1
    return deepest


def _from_yaml(description: Description, texts: TextFiles) -> None:
    path = description.file
    content = read_yaml(path, texts)
    if 'names' in content:
        description.names = _names(path, content['names'])
    for key, value in content.items():
        if key in SPLIT_NAMES:
            entries = value if isinstance(value, list) else [value]
            _add_split(description, SPLIT_NAMES[key], entries)
    base = content.get('path')
    description.base = base if isinstance(base, str) and base not in NOT_GIVEN else ''
    shape = content.get('kpt_shape')
    if isinstance(shape, list) and len(shape) == 2:
        try:
            points, values = map(int, shape)
            description.keypoints = max(0, points * values)
        except (TypeError, ValueError):
            description.keypoints = 0


def _from_darknet(description: Description, listing: list[Folder], texts: TextFiles) -> None:
    """Reads ``obj.data``: lines such as ``train = data/train.txt``."""
    for folder in listing:
        for path in folder.ending_in('.data'):
            try:
                lines = texts.read(path, LARGEST).split('\n')
            except ValueError as error:
                raise DatasetError(f'{path} {error}.') from error
            for line in lines:
                key, _, value = line.partition('=')
                if key.strip() in SPLIT_NAMES and value.strip():
                    _add_split(description, SPLIT_NAMES[key.strip()], [value.strip()])
            if description.splits:
                description.splits_file = path
                return


def _add_split(description: Description, name: str, entries: list[Any]) -> None:
    given = [e for e in entries if isinstance(e, str) and e.strip().lower() not in NOT_GIVEN]
    if given:
        description.splits.setdefault(name, []).extend(entry.strip() for entry in given)


def _names(path: Path, names: Any) -> list[str] | None:
    """The names in a YAML file, as a list or by number; None if there are none."""
    if isinstance(names, Mapping):
        try:
            numbers = {int(key): value for key, value in names.items()}
        except (TypeError, ValueError) as error:
            raise DatasetError(f'names in {path} has keys that are not numbers.') from error
        if sorted(numbers) != list(range(len(names))):
            raise DatasetError(f'names in {path} is not numbered 0, 1, 2 …: {short(list(names))}.')
        names = [numbers[number] for number in range(len(names))]
    elif isinstance(names, str):
        if names.strip().lower() in NOT_GIVEN:
            return None
        raise DatasetError(f'names in {path} is neither a list nor a mapping.')
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise DatasetError(f'Class {number} of names in {path} is not a name: {shown(name)}.')
    return [name if name.strip() else f'class_{number}' for number, name in enumerate(names)]


def _lines(path: Path, texts: TextFiles) -> list[str]:
    """The names in a text file, one per line."""
    try:
        lines = texts.read(path, LARGEST).split('\n')
    except ValueError as error:
        raise DatasetError(f'{path} {error}.') from error
    return [line for line in lines if line.strip()]
