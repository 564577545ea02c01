"""The text of a config, made safe to be read again.

mmengine replaces ``{{…}}`` in the text of a config before it parses it, inside string literals and
comments as well, and what it puts there can be code. Its own dump writes strings as they are, so a
name with two braces in a row would be replaced the next time that the dump is read.
"""

import re


def escape_braces(text: str) -> str:
    r"""Writes every ``{`` that another one follows as ``\x7b``.

    The strings that the text stands for stay the same, and nothing is left in it that mmengine
    would replace.

    Args:
        text: Python source in which ``{{`` occurs in ordinary string literals and comments alone,
            as ``Config.dump()``, ``Config.pretty_text`` and ``repr`` write it.

    Returns:
        Source that means the same, without ``{{``.
    """
    return re.sub(r'(\\*)\{(?=\{)', _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    backslashes = found[1]
    # An odd one would turn ours into text; Python takes it for a backslash before a brace.
    return backslashes + '\\' * (len(backslashes) % 2) + r'\x7b'
