"""Makes the text of a config safe to read again.

mmengine replaces ``{{…}}`` in the text of a config before parsing it, even in string literals and
comments, and the replacement can be code. Its own dump writes strings unchanged, so a name with
two braces in a row would be replaced the next time that the dump is read.
"""

import re


def escape_braces(text: str) -> str:
    r"""Replaces every ``{`` that is followed by another one by ``\x7b``.

    The values of the strings stay the same, and mmengine finds nothing to replace.

    Args:
        text: Python source with ``{{`` only in ordinary string literals and comments, as written
            by ``Config.dump()``, ``Config.pretty_text`` and ``repr``.

    Returns:
        Equivalent source without ``{{``.
    """
    return re.sub(r'(\\*)\{(?=\{)', _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    backslashes = found[1]
    # An odd backslash would escape ours; before a brace, Python reads it as a plain backslash.
    return backslashes + '\\' * (len(backslashes) % 2) + r'\x7b'
