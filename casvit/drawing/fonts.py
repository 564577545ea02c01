"""Finds fonts with the characters of a text: Pillow's own covers little more than ASCII."""

import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from PIL import ImageFont

# As named on Linux, Windows and macOS: Latin, Greek and Cyrillic first, then East Asian fonts.
SYSTEM_FONTS = (
    'DejaVuSans.ttf',
    'arial.ttf',
    'Arial.ttf',
    'NotoSans-Regular.ttf',
    'LiberationSans-Regular.ttf',
    'NotoSansCJK-Regular.ttc',
    'wqy-zenhei.ttc',
    'msyh.ttc',
    'meiryo.ttc',
    'malgun.ttf',
    'Arial Unicode.ttf',
    'Hiragino Sans GB.ttc',
    'AppleSDGothicNeo.ttc',
)
# No font has this character, so it is drawn like every character that a font lacks.
NO_CHARACTER = '\uffff'
PROBE = 20


def font_for(text: str, size: int) -> tuple[ImageFont.FreeTypeFont, str]:
    """The first font on this machine that has all characters of a text.

    Args:
        text: One line.
        size: In pixels.

    Returns:
        The font and the text. If no font has all characters, the font that has most of them, and
        the text with the others replaced: ``é`` by ``e``, others by their code point.
    """
    names = _fonts()
    fewest = min(names, key=lambda name: sum(not _has(name, letter) for letter in set(text)))
    return _font(fewest, size), ''.join(
        letter if _has(fewest, letter) else _replaced(letter) for letter in text
    )


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    if name:
        return ImageFont.truetype(name, size)
    # With a size, Pillow's own font is of this type as well.
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


@lru_cache(maxsize=1)
def _fonts() -> tuple[str, ...]:
    """Files of the installed fonts; an empty string for Pillow's own font."""
    found = ['']
    for name in (*SYSTEM_FONTS, *_beside_matplotlib()):
        try:
            found.append(str(ImageFont.truetype(name, PROBE).path))
        except OSError:
            continue
    return tuple(found)


def _beside_matplotlib() -> list[str]:
    spec = find_spec('matplotlib')
    if spec is None or spec.origin is None:
        return []
    return [str(Path(spec.origin).parent / 'mpl-data/fonts/ttf/DejaVuSans.ttf')]


@lru_cache(maxsize=4096)
def _has(name: str, letter: str) -> bool:
    return letter.isspace() or _shape(name, letter) != _shape(name, NO_CHARACTER)


def _shape(name: str, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(name, PROBE).getmask(letter)
    return mask.size, bytes(mask)


def _replaced(letter: str) -> str:
    plain = unicodedata.normalize('NFKD', letter).encode('ascii', 'ignore').decode('ascii')
    return plain or letter.encode('ascii', 'backslashreplace').decode('ascii')
