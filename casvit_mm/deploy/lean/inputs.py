"""The first step of a lean model: from uint8 images to the network's input."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normalised(nn.Module):
    """What a data preprocessor does at inference: normalises, and pads at the bottom and right.

    Args:
        preprocessor: A data preprocessor of mmdet, mmseg or mmpretrain.

    Shape: ``(B, 3, H, W)`` uint8 RGB -> ``(B, 3, H', W')`` float32, H' and W' being the next
    multiples of the preprocessor's ``pad_size_divisor``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        # Pipelines load BGR; the exported model takes RGB.
        converts = getattr(preprocessor, '_channel_conversion', None)
        self.is_rgb = bool(getattr(preprocessor, 'to_rgb', False) if converts is None else converts)
        self.normalises = bool(preprocessor._enable_normalize)
        if self.normalises:
            self.register_buffer('mean', preprocessor.mean.clone(), persistent=False)
            self.register_buffer('std', preprocessor.std.clone(), persistent=False)
        self.divisor = int(getattr(preprocessor, 'pad_size_divisor', None) or 1)
        pad_value = getattr(preprocessor, 'pad_value', getattr(preprocessor, 'pad_val', 0))
        self.pad_value = float(pad_value or 0)

    def forward(self, image: Tensor) -> Tensor:
        """Prepares a batch."""
        x = image if self.is_rgb else torch.flip(image, (1,))
        x = x.float()
        if self.normalises:
            x = (x - self.mean) / self.std
        if self.divisor == 1:
            return x
        height, width = sides(x)
        below, right = -height % self.divisor, -width % self.divisor
        return functional.pad(x, (0, right, 0, below), value=self.pad_value)


def sides(x: Tensor) -> tuple[int, int]:
    """Height and width of features or images. Shape: ``(B, C, H, W)``.

    A trace, which is for one size of images, gets them as numbers: coremltools cannot compute with
    traced ones.
    """
    height, width = x.shape[-2:]
    return (int(height), int(width)) if torch.jit.is_tracing() else (height, width)
