"""COCO's masks, looked at before C code sees them.

pycocotools decodes run lengths and fills polygons in C, which trusts them: a text that is cut off,
runs that exceed the image or a corner a billion pixels away end the process, or fill its memory.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from casvit.sentences import short

# Pillow refuses images of about this number of pixels; a larger mask belongs to none.
MAX_PIXELS = 2**28
# Characters of a number: the longest run fits into six, and C shifts bits out of more than twelve.
MAX_CHARACTERS = 7
# Steps of a fifth of a pixel along the edges of a polygon, each of which takes C eight bytes.
MAX_STEPS = 2**26


def decode_counts(counts: str | Sequence[int]) -> np.ndarray:
    """The run lengths of a mask, in either form that COCO files have.

    Args:
        counts: Compressed text, or a list of numbers.

    Returns:
        Runs of 0 and 1 in turn. Shape: ``(N,)``, int64.

    Raises:
        ValueError: They are no run lengths; says why, for ``has run lengths that`` before it.
    """
    if not isinstance(counts, str):
        return _listed(counts)
    try:
        codes = np.frombuffer(counts.encode('ascii'), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.full(1, -1)
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError(_character_issue(counts))
    ends = np.flatnonzero(codes < 32)
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError('end in the middle of a number')
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        raise ValueError(f'have a number of more than {MAX_CHARACTERS} characters')
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    # Five bits a character, the lowest first; the highest bit of the last is the sign.
    runs = np.add.reduceat((codes & 31) << 5 * places, starts)
    runs -= (codes[ends] >> 4 & 1) << 5 * lengths
    # From the fourth on, each is the difference to the one before the last.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def run_length_issue(value: Mapping[str, Any]) -> str:
    """Why a mask of run lengths cannot be decoded.

    Args:
        value: The segmentation: ``size`` (height and width) and ``counts``.

    Returns:
        The reason, for a record's name before it; empty for a sound mask.
    """
    size, counts = value.get('size'), value.get('counts')
    sized = isinstance(size, (list, tuple)) and len(size) == 2
    if not sized or not all(type(side) is int and side > 0 for side in size):
        return f'has a mask whose size is {short(size)}, expected [height, width]'
    if not isinstance(counts, (str, list)):
        return f'has a mask whose counts are {short(counts)}, expected run lengths'
    height, width = size
    if height * width > MAX_PIXELS:
        return f'has a mask of {short(width)}x{short(height)} pixels, which no image has'
    try:
        runs = decode_counts(counts)
    except ValueError as error:
        return f'has run lengths that {error}'
    if len(runs) and runs.min() < 0:
        return f'has run lengths that are negative ({int(runs.min()):,})'
    if (total := int(runs.sum())) != height * width:
        return (
            f'has run lengths that do not fill its size: they add up to {total:,}, and '
            f'{width}x{height} pixels are {height * width:,}'
        )
    return ''


def repaired_counts(value: Any) -> dict[str, Any] | None:
    """A mask whose counts are the text of Python bytes (``b'…'``), with the text that was meant.

    Args:
        value: A segmentation.

    Returns:
        A sound mask; None for anything else.
    """
    counts = value.get('counts') if isinstance(value, Mapping) else None
    if not isinstance(counts, str) or not _is_bytes_text(counts):
        return None
    try:
        meant = ast.literal_eval(counts).decode('ascii')
    except (ValueError, SyntaxError, MemoryError, RecursionError, UnicodeDecodeError):
        return None
    repaired = dict(value, counts=meant)
    return None if run_length_issue(repaired) else repaired


def polygon_issue(polygon: Sequence[float], size: tuple[float, float]) -> str:
    """Why a polygon cannot be filled.

    Args:
        polygon: Finite numbers: x and y in turn, in pixels.
        size: Width and height of the image.

    Returns:
        The reason, for a record's name before it; empty for one that can.
    """
    low, high = min(polygon), max(polygon)
    width, height = size
    far = 10 * (width + height) + 1000
    # A bound of the steps that takes no time: nearly every polygon is far below it.
    near = -far <= low and high <= far and width * height <= MAX_PIXELS
    if near and len(polygon) * (high - low + 1) * 2.5 <= MAX_STEPS:
        return ''
    shown = f'an image of {short(width)}x{short(height)}'
    if width * height > MAX_PIXELS:
        return f'has a polygon in {shown} pixels, which is too large'
    if not near:
        value = low if low < -far else high
        return f'has a polygon with the coordinate {value:g}, far outside {shown}'
    corners = np.asarray(polygon, float).reshape(-1, 2)
    edges = np.abs(corners - np.roll(corners, 1, axis=0)).max(1)
    if 5 * (edges + 1).sum() > MAX_STEPS:
        return f'has a polygon that goes to and fro over {shown} with {len(corners):,} points'
    return ''


def _listed(counts: Sequence[Any]) -> np.ndarray:
    try:
        runs = np.asarray(counts or np.zeros(0, np.int64))
    except (ValueError, OverflowError):
        # Lists of several lengths within it.
        runs = np.asarray('')
    if runs.ndim != 1 or runs.dtype.kind not in 'iuf':
        # Also numbers that no integer of NumPy holds.
        raise ValueError('are not whole numbers')
    # NaN is not within these bounds either.
    if len(runs) and not -1 < runs.min() <= runs.max() <= MAX_PIXELS:
        raise ValueError(f'go from {runs.min():g} to {runs.max():g}')
    if runs.dtype.kind == 'f' and (runs != np.floor(runs)).any():
        raise ValueError('are not whole numbers')
    return runs.astype(np.int64)


def _character_issue(counts: str) -> str:
    if _is_bytes_text(counts):
        return "are the text of Python bytes (b'…'): write counts.decode() into the file"
    strange = next(c for c in counts if not '0' <= c <= 'o')
    return f'have the character {strange!r}'


def _is_bytes_text(counts: str) -> bool:
    return counts[:2] in ("b'", 'b"') and counts[-1] == counts[1]
