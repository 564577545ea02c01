"""Colours of classes: bright, always the same, and different for neighbouring class indices."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Colour = tuple[int, int, int]

# Each was chosen to lie far from the five before it, and not close to any other, in CIE Lab.
HEX = """
    288cff ffa500 32cd50 ff3c3c be5aff 00d7d7 ff5abe b4e100 96a5f0 c3691e d200ff 009669
    ff0078 00ff00 f0b4ff ffe13c ff5a00 78ffc3 ff00e1 00c3f0 ff96b4 a59600 96ff00 6969ff
    00c378 0087c3 f06969 ffe187 c369b4 ff0000 3c9600 1ea5ff c3694b ffc34b ff78ff 00ffa5
    69873c 7878d2 e14b78 ffa55a e1f05a 00ff69 78c387 c387ff ff00b4 ffa587 f02d5a 3cd200
    d2f096 00c3a5 c34bc3 c38700 d26978 87ff5a 96b44b 00ffe1 b487d2 ff872d d22de1 69ff87
    96873c b4c300 ff96f0 e15a2d 7878f0 00963c ffc387 b4f05a ff78b4 ffc300 78f0d2 78870f
    ff875a 78d22d c35a87 e12dc3 a5f0a5 d2c34b b4783c 0f78ff
"""
BRIGHT = np.array([tuple(bytes.fromhex(code)) for code in HEX.split()], np.uint8)
"""The colours of the first classes. Shape: ``(80, 3)``, RGB."""
# Grey level that the colours of each turn are mixed with, and its share.
TURNS = ((0, 0.0), (0, 0.35), (255, 0.5))
# Lightness, and distance to the next class, in CIE Lab: below these a colour is not clear.
DARK, ALIKE = 28, 25
# sRGB to XYZ, relative to the white of D65.
TO_XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]])


def default_palette(count: int) -> list[Colour]:
    """Colours for classes without their own: :func:`default_colour` of each."""
    return [default_colour(index) for index in range(count)]


@lru_cache(maxsize=4096)
def default_colour(index: int) -> Colour:
    """The colour of a class without its own.

    Args:
        index: Index of the class. After the 80 bright colours come darker and paler ones of each,
            then the same again.
    """
    turn, place = divmod(index, len(BRIGHT))
    towards, share = TURNS[turn % len(TURNS)]
    red, green, blue = (BRIGHT[place] * (1 - share) + towards * share).round().astype(int).tolist()
    return red, green, blue


def colours_of(palette: Sequence[Colour], count: int) -> np.ndarray:
    """The colour of each class, those of a palette first.

    Args:
        palette: May be empty or too short.
        count: Number of classes.

    Returns:
        Shape: ``(count, 3)``, uint8 RGB.
    """
    own = list(palette)[:count]
    own += [default_colour(index) for index in range(len(own), count)]
    return np.array(own, np.uint8).reshape(-1, 3)


def object_palette(palette: Sequence[Colour], count: int) -> list[Colour]:
    """The colours for objects and labels in place of a dataset's own, if those are not clear.

    The colours of COCO and VOC are meant for masks: many are too dark for a thin line, and
    neighbours look alike.

    Args:
        palette: Colours of the dataset; may be empty or too short.
        count: Number of classes.
    """
    own = list(palette)[:count]
    if not is_clear(colours_of(own, len(own))):
        own = []
    return [*own, *(default_colour(index) for index in range(len(own), count))]


def is_clear(colours: np.ndarray) -> bool:
    """Whether all colours are visible as thin lines, and each differs from the next one.

    Args:
        colours: Shape: ``(N, 3)``, uint8 RGB.
    """
    lab = _lab(colours)
    apart = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    return bool((lab[:, 0] >= DARK).all() and (apart >= ALIKE).all())


def ink_on(colour: np.ndarray) -> int:
    """The grey level of letters on a colour: black or white, whichever is easier to read."""
    # Relative luminance: at 0.18 both have the same contrast by WCAG, but white looks clearer.
    return 0 if _linear(colour) @ TO_XYZ[1] > 0.24 else 255


def _linear(colours: np.ndarray) -> np.ndarray:
    share = np.asarray(colours, float) / 255
    return np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)


def _lab(colours: np.ndarray) -> np.ndarray:
    """CIE Lab of sRGB colours. Shapes: ``(N, 3)``."""
    xyz = _linear(colours) @ TO_XYZ.T
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
