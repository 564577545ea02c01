"""Decodes text files of unknown encoding: UTF-8 as a rule, else what annotation tools write."""

import codecs
from pathlib import Path

# Longest first: the mark of UTF-32 starts with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
# GB2312 has only pairs of high bytes, which Western European text rarely has; GBK has more.
GUESSES = ('gb2312', 'cp1252')
DISPLAYED = {
    'utf-8-sig': 'UTF-8 with a byte order mark',
    'utf-16': 'UTF-16',
    'utf-16-le': 'UTF-16',
    'utf-16-be': 'UTF-16',
    'utf-32': 'UTF-32',
    'gb2312': 'GBK',
    'cp1252': 'Windows-1252',
}


def decode(content: bytes) -> tuple[str, str]:
    """Decodes the content of a text file.

    Args:
        content: The bytes of the file.

    Returns:
        The text, without a byte order mark; and the display name of its encoding if it is not
        plain UTF-8, else ''. Line ends become ``\\n``.

    Raises:
        ValueError: No known encoding fits; the message completes ``the file``.
    """
    marked = next((name for mark, name in MARKS if content.startswith(mark)), '')
    names = [marked] if marked else ['utf-8', *GUESSES]
    if not marked and b'\0' in content:
        names = [_unmarked_utf16(content) or 'utf-8']
    for name in names:
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        return text.replace('\r\n', '\n').replace('\r', '\n'), DISPLAYED.get(name, '')
    if marked:
        raise ValueError(f'starts like {DISPLAYED[marked]} text, but is not: save it as UTF-8')
    raise ValueError('is not text in UTF-8, GBK or Windows-1252: save it as UTF-8')


def _unmarked_utf16(content: bytes) -> str:
    """The byte order of UTF-16 without a mark, in which every Latin letter has a zero byte."""
    for start, name in ((1, 'utf-16-le'), (0, 'utf-16-be')):
        if 0 in content[start::2] and 0 not in content[1 - start :: 2]:
            return name if len(content) % 2 == 0 and content.count(0) > len(content) // 4 else ''
    return ''


def read_text(path: Path) -> tuple[str, str]:
    """Reads a text file; see :func:`decode`.

    Raises:
        OSError: The file cannot be read.
        ValueError: No known encoding fits.
    """
    return decode(path.read_bytes())
