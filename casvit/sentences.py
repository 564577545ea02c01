"""Phrases that messages share."""

import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.names import printable


def some(names: Iterable[str], limit: int = 3, *, quoted: bool = True) -> str:
    """Lists the first few names, and how many more there are; control characters are escaped."""
    names = list(names)
    shown = ', '.join(map(repr if quoted else printable, names[:limit]))
    return f'{shown} and {len(names) - limit} more' if len(names) > limit else shown


def short(value: Any, limit: int = 60) -> str:
    """The repr of a value, shortened if it is long."""
    # Only the start of a long list is formatted: the run lengths of a large mask are megabytes.
    text = repr(value[:limit] if isinstance(value, (list, str)) else value)
    return text if len(text) <= limit else f'{text[: limit - 3]}...'


def as_tuple(names: Sequence[str]) -> str:
    """Names as a config writes them; shortened if there are too many."""
    return repr(tuple(names)) if len(names) <= 20 else f'({some(names)})'


def count_of(number: int, noun: str) -> str:
    """A number with its noun: '1 image', '2 classes'."""
    plural = f'{noun}es' if noun.endswith('s') else f'{noun}s'
    return f'{number:,} {noun if number == 1 else plural}'


def reason_of(error: OSError) -> str:
    """Why a file or an address cannot be read or written, to complete a sentence."""
    # urllib wraps the error of the connection.
    inner = getattr(error, 'reason', None)
    if isinstance(inner, OSError):
        return reason_of(inner)
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename:
        # A file in the place of a folder: the system names the folder that it cannot create in it.
        place = Path(os.fsdecode(error.filename))
        taken = next((each for each in (place, *place.parents) if each.is_file()), None)
        if taken is not None:
            return f'{taken} is a file, not a folder'
    return error.strerror or str(error)


def end_of_process(code: int) -> str:
    """How a process ended, to complete a sentence.

    Args:
        code: Its exit code; negative if a signal ended it.
    """
    if code >= 0:
        return f'ended with code {code}'
    name = signal.Signals(-code).name
    memory = '; perhaps there was not enough memory' if name == 'SIGKILL' else ''
    return f'was ended by {name}{memory}'


def first_line(error: Exception) -> str:
    """What an error of a library says, in one line; its type if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shown_path(path: str) -> str:
    """A path; a relative one is followed by the folder it starts from."""
    return path if Path(path).is_absolute() else f'{path} (in {Path.cwd()})'


def from_here(path: str | Path, *, home: bool = True) -> str:
    """A path as one would type it here: relative below this folder, with ``~`` below one's home.

    Args:
        path: A path, or a name such as ``casvit://cas-vit-s``, which stays as it is.
        home: Whether to write ``~``, which a shell does not understand between quotes.
    """
    absolute = Path(path)
    if not absolute.is_absolute():
        return str(path)
    # Unlike Path.home(), expanduser() leaves the sign if nobody knows the home.
    places = [(Path.cwd(), '')]
    if home:
        places.append((Path(os.path.expanduser('~')), '~'))  # noqa: PTH111
    for folder, start in places:
        below = absolute.is_relative_to(folder) and absolute != folder
        if below and folder != Path(folder.anchor):
            return str(Path(start, absolute.relative_to(folder)))
    return str(path)


def missing_path(what: str, path: str, hint: str) -> DatasetError:
    """The error for a path that does not exist, or is a folder instead of a file or vice versa."""
    state = 'does not exist'
    if Path(path).exists():
        state = 'is a folder, not a file' if Path(path).is_dir() else 'is a file, not a folder'
    return DatasetError(f'The {what} {shown_path(path)} {state}. {hint}')


def need_folder(what: str, folder: str, hint: str) -> None:
    """Checks that a folder exists.

    Raises:
        DatasetError: It does not.
    """
    if not Path(folder).is_dir():
        raise missing_path(what, folder, hint)
