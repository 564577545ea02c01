"""Validates run lengths before they reach C code.

pycocotools decodes them in C without checks: truncated text or runs that exceed the image crash the
process.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from casvit.sentences import short

# Pillow refuses images of about this many pixels, so no image has a larger mask.
MAX_PIXELS = 2**28
# Characters per number: the longest run needs six, and with more than twelve C loses bits.
MAX_CHARACTERS = 7


def decode_counts(counts: str | Sequence[int]) -> np.ndarray:
    """Decodes the run lengths of a mask, in either form that COCO files use.

    Args:
        counts: Compressed text, or a list of numbers.

    Returns:
        Alternating runs of 0 and 1. Shape: ``(N,)``, int64.

    Raises:
        ValueError: They are not run lengths; the message completes ``has run lengths that``.
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
        raise ValueError(f'contain a number of more than {MAX_CHARACTERS} characters')
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    # Five bits per character, lowest first; the highest bit of the last one is the sign.
    runs = np.add.reduceat((codes & 31) << 5 * places, starts)
    runs -= (codes[ends] >> 4 & 1) << 5 * lengths
    # From the fourth number on, each is the difference to the one two places before.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def run_length_issue(value: Mapping[str, Any]) -> str:
    """Explains why a mask of run lengths cannot be decoded.

    Args:
        value: The segmentation: ``size`` (height and width) and ``counts``.

    Returns:
        The reason, without a subject; empty for a valid mask.
    """
    size, counts = value.get('size'), value.get('counts')
    if not (
        isinstance(size, (list, tuple))
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    ):
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
            f'has run lengths that do not match its size: they add up to {total:,}, but '
            f'{width}x{height} pixels are {height * width:,}'
        )
    return ''


def repaired_counts(value: object) -> dict[str, Any] | None:
    """Repairs a mask whose counts are the repr of Python bytes (``b'…'``).

    Args:
        value: A segmentation.

    Returns:
        A valid mask; None for anything else.
    """
    if not isinstance(value, Mapping):
        return None
    counts = value.get('counts')
    if not isinstance(counts, str) or not _is_bytes_text(counts):
        return None
    try:
        text = ast.literal_eval(counts).decode('ascii')
    except (ValueError, SyntaxError, MemoryError, RecursionError, UnicodeDecodeError):
        return None
    repaired = dict(value, counts=text)
    return None if run_length_issue(repaired) else repaired


def _listed(counts: Sequence[Any]) -> np.ndarray:
    try:
        runs = np.asarray(counts or np.zeros(0, np.int64))
    except (ValueError, OverflowError):
        # Nested lists of different lengths.
        runs = np.asarray('')
    if runs.ndim != 1 or runs.dtype.kind not in 'iuf':
        # Also numbers too large for any NumPy integer.
        raise ValueError('are not whole numbers')
    # NaN fails these bounds as well.
    if len(runs) and not -1 < runs.min() <= runs.max() <= MAX_PIXELS:
        raise ValueError(f'range from {runs.min():g} to {runs.max():g}')
    if runs.dtype.kind == 'f' and (runs != np.floor(runs)).any():
        raise ValueError('are not whole numbers')
    return runs.astype(np.int64)


def _character_issue(counts: str) -> str:
    if _is_bytes_text(counts):
        return "are the repr of Python bytes (b'…'): write counts.decode() into the file"
    invalid = next(c for c in counts if not '0' <= c <= 'o')
    return f'contain the character {invalid!r}'


def _is_bytes_text(counts: str) -> bool:
    return counts[:2] in ("b'", 'b"') and counts[-1] == counts[1]
