"""Bilinear resizing like OpenCV's, in operators that every runtime computes to the last bit.

Places of pixels are fractions of whole numbers. Runtimes may compute float64 in float32, and divide
whole numbers in float32 too, which is exact below 2 ** 24: divisions of larger numbers are
corrected by their remainders.
"""

import torch
from torch import Tensor

from casvit.exported.resize import COEFFICIENT

DIGITS = 4096
"""Fractions have two digits of this base, the 24 bits of a float32."""
LARGEST_SIDE = 2**15
"""Images are smaller than this in pixels: products of two sides fit into 31 bits."""


def divided(number: Tensor, by: Tensor | int) -> tuple[Tensor, Tensor]:
    """The quotient and the remainder of whole numbers that are not negative.

    Args:
        number: Below 2 ** 31, and below 2 ** 22 times ``by``.
        by: At least 1.
    """
    quotient = _whole(number, by)
    rest = number - quotient * by
    change = (rest >= by).to(number.dtype) - (rest < 0).to(number.dtype)
    return quotient + change, rest - change * by


def resized(image: Tensor, new: Tensor, room: tuple[int, int]) -> Tensor:
    """Resizes an image like :func:`casvit.exported.resize.resize_bilinear`.

    Exactly twice the new size needs no case of its own: the mean of four pixels is what their
    weights make of them. Places that lie halfway between two float32 numbers may be rounded to the
    other one, which changes some pixels by one: there are such places in images of more than 8192
    pixels that shrink to a multiple of 512, and of more than 4096 that shrink to one of 2048.

    Args:
        image: Shape: ``(C, H, W)``, uint8.
        new: New height and width. Shape: ``(2,)``, int64.
        room: Rows and columns of the answer, at least those of the new size. What is beyond the
            new size has no meaning.

    Returns:
        Shape: ``(C, *room)``, uint8.
    """
    top, bottom, y_share = _neighbours(image.shape[1], new[:1], room[0], inside=False)
    left, right, x_share = _neighbours(image.shape[2], new[1:], room[1], inside=True)
    weights = [each[:, None].float() for each in (COEFFICIENT - x_share, x_share)]
    parts = []
    for rows, share in ((top, COEFFICIENT - y_share), (bottom, y_share)):
        # Runtimes copy whole rows faster than single pixels: the columns become rows.
        columns = image.index_select(1, rows).flatten(0, 1).t().contiguous()
        before, after = (columns.index_select(0, each).float() for each in (left, right))
        mixed = ((before * weights[0] + after * weights[1]) / 16).floor()
        parts.append(_weighted(mixed.unflatten(1, (-1, room[0])), share))
    return ((parts[0] + parts[1] + 2) / 4).floor().to(torch.uint8).permute(1, 2, 0)


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """``(values * weights) >> 16``: the weights in two digits, so that float32 is exact."""
    high = _whole(weights, 64)
    high, low = (each.float() for each in (high, weights - high * 64))
    return ((values * high + (values * low / 64).floor()) / 1024).floor()


def _neighbours(
    size: int, new: Tensor, count: int, *, inside: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The two neighbours of each new pixel along one axis, and the weight of the second.

    Args:
        size: Pixels of the image along the axis.
        new: Pixels of the resized image. Shape: ``(1,)``.
        count: Places to compute.
        inside: As in :mod:`casvit.exported.resize`.

    Returns:
        int64, ``(count,)`` each. The weights of both add up to :data:`COEFFICIENT`.
    """
    odd = 2 * torch.arange(count, device=new.device) + 1
    # A place is (odd * size - new) / (2 * new), and at least -0.5: it is computed plus one.
    after, rest = divided(odd * size + new, 2 * new)
    first = after - 1
    high, rest = divided(rest * DIGITS, 2 * new)
    low, rest = divided(rest * DIGITS, 2 * new)
    fraction, more = high * DIGITS + low, (rest > 0).to(rest.dtype)
    # OpenCV has places in float32: the more digits before the point, the fewer behind it.
    powers = 2 ** torch.arange(LARGEST_SIDE.bit_length(), device=new.device)
    unit = 1 + ((first[:, None] >= powers) * powers).sum(1)
    fraction = _rounded(fraction, unit, more) * unit
    share = _rounded(fraction, DIGITS * DIGITS // COEFFICIENT, more * (unit == 1))
    if inside:
        share = share * ((first >= 0) & (first < size - 1))
    return first.clamp(0, size - 1), (first + 1).clamp(0, size - 1), share


def _rounded(number: Tensor, unit: Tensor | int, more: Tensor) -> Tensor:
    """How many units a number has, halves rounded to the even one.

    Args:
        number: Whole numbers below 2 ** 24.
        unit: The unit.
        more: 1 if the number is a little larger than that, else 0.
    """
    count = _whole(number, unit)
    rest = number - count * unit
    # Above a half, or at a half after an odd number.
    return count + (4 * rest + 2 * more + count % 2 > 2 * unit).to(count.dtype)


def _whole(number: Tensor, by: Tensor | int) -> Tensor:
    """The quotient of whole numbers that are not negative; exact below 2 ** 24."""
    return torch.div(number, by, rounding_mode='floor')
