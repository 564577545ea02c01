"""Recognises images that were stored with fewer bits than their files have, and load dark."""

from collections.abc import Sequence

from casvit.sentences import count_of

FULL = 2**16 - 1
# Cameras write 12 bits, medical devices 10 to 14; a run keeps the upper 8 of 16 bits.
MOST_BITS = 14
LEAST_BITS = 9


def darkness(peaks: Sequence[float]) -> str:
    """Explains that images use only the lower bits of their range.

    Args:
        peaks: The largest value of each image with more than 8 bits, as a share of its range.

    Returns:
        The reason, without a subject; empty if some image uses more.
    """
    bits = round(max(peaks, default=1.0) * FULL).bit_length()
    if bits > MOST_BITS:
        return ''
    number = count_of(len(peaks), 'image')
    return (
        f'has {number} with 16 bits that use at most {max(bits, 1)} of them, '
        f'1/{2 ** (16 - bits)} of the brightness range: --fix OUT --bits {max(bits, LEAST_BITS)}'
    )
