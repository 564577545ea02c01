"""The CRC-32 of zip, put together from those of parts."""

from functools import cache

POLYNOMIAL = 0xEDB88320
"""The lowest bit is the highest power, as in all numbers here."""
BITS = 32
ONE = 1 << 31
BYTE = 1 << 23
"""The polynomial x to the power of 8, by which a byte behind moves a checksum."""


def joined(first: int, second: int, size: int) -> int:
    """The checksum of bytes whose two parts were looked at apart.

    Args:
        first: Checksum of the first part.
        second: Checksum of the second part.
        size: Bytes of the second part.
    """
    return _product(first, _moved(size)) ^ second


def _product(left: int, right: int) -> int:
    product = 0
    for bit in range(BITS):
        if left & ONE >> bit:
            product ^= right
        right = right >> 1 ^ (POLYNOMIAL if right & 1 else 0)
    return product


@cache
def _moved(size: int) -> int:
    """What so many bytes behind multiply a checksum by."""
    if size == 0:
        return ONE
    half = _moved(size // 2)
    square = _product(half, half)
    return _product(square, BYTE) if size % 2 else square
