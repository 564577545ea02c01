"""Words that messages have in common."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError


def some(names: Iterable[str], limit: int = 3, *, quoted: bool = True) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    shown = ', '.join(map(repr if quoted else str, names[:limit]))
    return f'{shown} and {len(names) - limit} more' if len(names) > limit else shown


def short(value: Any, limit: int = 60) -> str:
    """A value as Python writes it, cut where it is long."""
    # Of a long list only the start is written: run lengths of a large mask are megabytes.
    text = repr(value[:limit] if isinstance(value, (list, str)) else value)
    return text if len(text) <= limit else f'{text[: limit - 3]}...'


def as_tuple(names: Sequence[str]) -> str:
    """Names as a config writes them, unless they are too many."""
    return repr(tuple(names)) if len(names) <= 20 else f'({some(names)})'


def count_of(number: int, noun: str) -> str:
    """A number and its noun: '1 image', '2 classes'."""
    plural = f'{noun}es' if noun.endswith('s') else f'{noun}s'
    return f'{number:,} {noun if number == 1 else plural}'


def shown_path(path: str) -> str:
    """A path, and where it starts if it is relative."""
    return path if Path(path).is_absolute() else f'{path} (in {Path.cwd()})'


def missing_path(what: str, path: str, hint: str) -> DatasetError:
    """The error for something that is not there, or of the other kind."""
    state = 'does not exist'
    if Path(path).exists():
        state = 'is a folder, not a file' if Path(path).is_dir() else 'is a file, not a folder'
    return DatasetError(f'The {what} {shown_path(path)} {state}. {hint}')


def need_folder(what: str, folder: str, hint: str) -> None:
    """Sees that a folder is there.

    Raises:
        DatasetError: It is not.
    """
    if not Path(folder).is_dir():
        raise missing_path(what, folder, hint)
