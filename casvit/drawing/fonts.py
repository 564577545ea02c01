"""Fonts that have the letters of a text: Pillow's own knows little more than ASCII."""

import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

# As Linux, Windows and macOS name them: Latin, Greek and Cyrillic first, then what East Asia needs.
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
# No font has a character here, so it is drawn as what a font draws for those that it lacks.
NO_CHARACTER = '\uffff'
PROBE = 20


def font_for(text: str, size: int) -> tuple[ImageFont.FreeTypeFont, str]:
    """The first font of this machine that has all letters of a text.

    Args:
        text: One line.
        size: In pixels.

    Returns:
        The font, and the text. If no font has them all, the one that has most, and the text with
        the others replaced: ``é`` by ``e``, and by their number if there is nothing like them.
    """
    names = _fonts()
    fewest = min(names, key=lambda name: sum(not _has(name, letter) for letter in set(text)))
    return _font(fewest, size), ''.join(
        letter if _has(fewest, letter) else _replaced(letter) for letter in text
    )


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _fonts() -> tuple[str, ...]:
    """Files of the fonts that are there; empty for the one that Pillow has."""
    found = ['']
    for name in (*SYSTEM_FONTS, *_beside_matplotlib()):
        try:
            found.append(ImageFont.truetype(name, PROBE).path)
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
