"""Makes an image of any size fit the one size of a network, inside the exported file."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from casvit.exported.preparation import Fit
from casvit_mm.deploy.lean.bilinear import LARGEST_SIDE, divided, resized


class Fitting(nn.Module):
    """Resizes an image bilinearly and pads it, to the pixel like the Predictor.

    Args:
        fit: What images are made to fit.

    Shape: ``(1, 3, h, w)`` uint8 -> ``(1, 3, H, W)`` uint8, and height and width of the part that
    is not padding, ``(2,)`` int64.

    Source: :func:`casvit.exported.preparation.prepare`.
    """

    limits: Tensor
    colour: Tensor
    rounded_down: Tensor

    def __init__(self, fit: Fit) -> None:
        super().__init__()
        self.room, self.keep_ratio = fit.to, fit.keep_ratio
        codes = [_code(height, width) for height, width in _rounded_down(*fit.to)]
        codes += [_code(height, width) for width, height in _rounded_down(*fit.to[::-1])]
        self._keep('limits', torch.tensor(fit.to))
        self._keep('colour', torch.tensor(fit.colour, dtype=torch.uint8)[:, None, None])
        self._keep('rounded_down', torch.tensor(codes or [-1]))

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Fits an image."""
        new = self._new_size(image.shape[2], image.shape[3])
        pixels = resized(image[0], new, self.room)
        if self.keep_ratio:
            rows, columns = (
                torch.arange(side, device=new.device) < inside
                for side, inside in zip(self.room, new.split(1), strict=True)
            )
            pixels = torch.where(rows[:, None] & columns, pixels, self.colour)
        return pixels[None], new

    def _new_size(self, height: int, width: int) -> Tensor:
        if not self.keep_ratio:
            return self.limits
        size = torch.stack([torch.ones_like(self.limits[0]) * side for side in (height, width)])
        # The side that needs the smaller factor fills the input.
        by_height = self.limits[0] * width <= self.limits[1] * height
        factor = torch.where(by_height, self.limits[0], self.limits[1])
        divisor = torch.where(by_height, size[0], size[1])
        new, _ = divided(2 * size * factor + divisor, 2 * divisor)
        less = (self.rounded_down == _code(height, width)).any()
        other = torch.stack([~by_height, by_height])
        return (new - (less & other).to(new.dtype)).clamp(min=1)


def _code(height: int, width: int) -> int:
    return height * LARGEST_SIDE + width


def _rounded_down(to: int, other_to: int) -> list[tuple[int, int]]:
    """Sizes whose half pixels are not rounded up.

    With a factor in float64, as OpenMMLab computes it, a side that should become a number and a
    half can become a little less. There are a few such sizes in a million.

    Args:
        to: What the first side is scaled to; the second is scaled by the same factor.
        other_to: What the second side may be scaled to.

    Returns:
        First and second sides, below :data:`LARGEST_SIDE`.
    """
    found = []
    for side in range(2, LARGEST_SIDE):
        shared = math.gcd(to, side)
        if side // shared % 2 or not to // shared % 2:
            continue
        # The odd multiples of this become a number and a half.
        step = side // shared // 2
        most = min(other_to * side // to, LARGEST_SIDE - 1)
        others = np.arange(step, most + 1, 2 * step)
        up = (2 * others * to // side + 1) // 2
        found += [(side, int(each)) for each in others[(others * (to / side) + 0.5) < up]]
    return found
