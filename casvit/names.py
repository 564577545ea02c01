"""Names from a dataset: which of them are safe to write, and how to display the others.

Class names end up in configs, whose text mmengine evaluates, in logs and on the terminal. mmengine
treats two braces in a row as an instruction; control characters move the cursor, hide the text
before them, or break the line.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from casvit.encodings import read_text
from casvit.errors import DatasetError

TWO_BRACES = '{{'
# Control characters, surrogates (bytes that are not UTF-8), line and paragraph separators, and
# invisible format characters, such as those that change the direction of a text.
UNSAFE = frozenset(('Cc', 'Cs', 'Zl', 'Zp', 'Cf'))
# Joiners: Persian and Indic words need them, and so do emoji.
JOINERS = '\u200c\u200d'
SHOWN = 3


def name_issue(name: str) -> str:
    """Explains why a name is not safe to write into configs and logs.

    Args:
        name: The name of a class, or a path.

    Returns:
        The reason, without a subject: ``contains '{{'``; empty for a safe name.
    """
    found = [repr(TWO_BRACES)] if TWO_BRACES in name else []
    if not name.isprintable():
        found += dict.fromkeys(ascii(c) for c in name if _is_unsafe(c))
    return f'contains {", ".join(found[:SHOWN])}' if found else ''


def safe_names(names: Sequence[str]) -> list[str]:
    """Replaces unsafe names by safe ones; keeps those that are safe already.

    Args:
        names: The names of all classes.

    Returns:
        As many names; unique if ``names`` are.
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
    """Checks that the class names of a run are safe to write.

    Args:
        names: The names.
        source: Where they come from.

    Raises:
        DatasetError: A name is unsafe; the message says which, why and what to do.
    """
    for index, name in enumerate(map(str, names)):
        if issue := name_issue(name):
            raise DatasetError(
                f'The name of class {index} of {source}, {name!a}, {issue}: mmengine or a '
                'terminal may interpret it as an instruction. Rename the class, or let `casvit '
                'check DATA --fix OUT` write a copy with safe names.'
            )


def printable(text: str) -> str:
    """Returns a text as one line that is safe to display anywhere, with odd characters escaped."""
    if text.isprintable():
        return text
    return ''.join(c.encode('unicode_escape').decode('ascii') if _is_unsafe(c) else c for c in text)


def printable_lines(text: str) -> str:
    """Applies :func:`printable` to each line of a text."""
    return '\n'.join(map(printable, text.split('\n')))


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file in any encoding that :func:`decode` knows.

    Not with `splitlines`, which also splits at other separators, such as U+2028.

    Raises:
        DatasetError: The file cannot be read, or is not text.
    """
    try:
        return read_text(path)[0].split('\n')
    except OSError as error:
        raise DatasetError(f'{path} cannot be read: {error.strerror or error}.') from error
    except ValueError as error:
        raise DatasetError(f'{path} {error}.') from error


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in UNSAFE and character not in JOINERS


def _without_unsafe(name: str) -> str:
    spaced = ''.join(
        ' ' if unicodedata.category(c) in ('Cc', 'Zl', 'Zp') else c
        for c in name
        if unicodedata.category(c) not in ('Cf', 'Cs') or c in JOINERS
    )
    return re.sub(r'\{+', '{', ' '.join(spaced.split())) or 'class'
