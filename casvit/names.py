"""Names that a dataset brings along: which are safe to write, and how others are shown.

Class names go into configs, whose text mmengine evaluates, into logs and onto the terminal. Two
braces in a row are an instruction to mmengine; control characters move the cursor, hide what stands
before them, or leave the line that a name is written into.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from casvit.errors import DatasetError

TWO_BRACES = '{{'
# Controls, halves of characters (bytes that are no UTF-8), separators of lines and paragraphs, and
# marks that are not seen, such as those that turn the direction of a text.
UNSAFE = frozenset(('Cc', 'Cs', 'Zl', 'Zp', 'Cf'))
# Marks that join letters: Persian and Indic words need them, and so do emoji.
JOINERS = '\u200c\u200d'
SHOWN = 3


def name_issue(name: str) -> str:
    """Why a name is not safe to write into configs and logs.

    Args:
        name: The name of a class, or a path.

    Returns:
        The reason, for what is named before it: ``contains '{{'``; empty for a safe name.
    """
    found = [repr(TWO_BRACES)] if TWO_BRACES in name else []
    if not name.isprintable():
        found += dict.fromkeys(ascii(c) for c in name if _is_unsafe(c))
    return f'contains {", ".join(found[:SHOWN])}' if found else ''


def safe_names(names: Sequence[str]) -> list[str]:
    """Names that are safe to write: those that are safe already, and new ones for the others.

    Args:
        names: The names of all classes.

    Returns:
        As many names, each of them once if each of ``names`` is there once.
    """
    taken = {name for name in names if not name_issue(name)}
    safe = []
    for name in names:
        if name_issue(name):
            free = wanted = _without_unsafe(name)
            number = 1
            while free in taken:
                number += 1
                free = f'{wanted}_{number}'
            taken.add(free)
            name = free
        safe.append(name)
    return safe


def refuse_unsafe_names(names: Iterable[object], source: str) -> None:
    """Sees that the class names of a run are safe to write.

    Args:
        names: The names.
        source: Where they are from.

    Raises:
        DatasetError: One is not; says which, why and what to do.
    """
    for index, name in enumerate(map(str, names)):
        if issue := name_issue(name):
            raise DatasetError(
                f'The name of class {index} of {source}, {name!a}, {issue}: mmengine or a '
                'terminal may take it for an instruction. Rename the class; `casvit check DATA '
                '--fix OUT` writes a copy with other names.'
            )


def printable(text: str) -> str:
    """A text as one line that any terminal, page or file shows, with odd characters escaped."""
    if text.isprintable():
        return text
    return ''.join(c.encode('unicode_escape').decode('ascii') if _is_unsafe(c) else c for c in text)


def printable_lines(text: str) -> str:
    """A text whose lines stay lines, and are :func:`printable` each."""
    return '\n'.join(map(printable, text.split('\n')))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, split at line ends alone.

    Not `splitlines`: at other separators, such as U+2028, it makes two names out of one.

    Raises:
        DatasetError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding='utf-8').split('\n')
    except UnicodeDecodeError as error:
        raise DatasetError(
            f'{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.'
        ) from error
    except OSError as error:
        raise DatasetError(f'{path} cannot be read: {error.strerror or error}.') from error


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in UNSAFE and character not in JOINERS


def _without_unsafe(name: str) -> str:
    spaced = ''.join(
        ' ' if unicodedata.category(c) in ('Cc', 'Zl', 'Zp') else c
        for c in name
        if unicodedata.category(c) not in ('Cf', 'Cs') or c in JOINERS
    )
    return re.sub(r'\{+', '{', ' '.join(spaced.split())) or 'class'
