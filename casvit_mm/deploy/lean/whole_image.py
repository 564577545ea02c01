"""Models that answer for the whole image: segmentors and classifiers."""

from typing import Any

import torch
from mmseg.models.utils import Upsample
from torch import Tensor, nn
from torch.nn import functional

from casvit_mm.deploy.lean.inputs import Normalised, sides


class LeanSegmentor(nn.Module):
    """A semantic segmentor.

    Args:
        model: A trained ``EncoderDecoder`` of mmseg.

    Shape: ``(B, 3, H, W)`` uint8 RGB -> logits ``(B, classes, h, w)``, before they are enlarged to
    the size of the input.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inputs = Normalised(model.data_preprocessor)
        self.backbone, self.head = model.backbone, model.decode_head
        self.neck = model.neck if model.with_neck else nn.Identity()
        for owner in self.head.modules():
            for name, child in owner.named_children():
                replaced = _traceable(child)
                if replaced is not None:
                    setattr(owner, name, replaced)

    def forward(self, image: Tensor) -> Tensor:
        """Predicts the logits of each class."""
        return self.head(self.neck(self.backbone(self.inputs(image))))


class LeanClassifier(nn.Module):
    """An image classifier.

    Args:
        model: A trained ``ImageClassifier`` of mmpretrain.

    Shape: ``(B, 3, H, W)`` uint8 RGB -> probabilities ``(B, classes)``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inputs = Normalised(model.data_preprocessor)
        self.backbone, self.head = model.backbone, model.head
        self.neck = model.neck if model.with_neck else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Predicts the probability of each class."""
        features = self.neck(self.backbone(self.inputs(image)))
        return self.head(features).softmax(1)


class Enlarged(nn.Module):
    """mmseg's ``Upsample`` by a whole factor, for images of any size.

    That rounds the size with ``int()``, which a trace replaces by the number it saw.
    """

    def __init__(self, layer: Upsample) -> None:
        super().__init__()
        self.factor = int(layer.scale_factor)
        self.mode, self.align_corners = layer.mode, layer.align_corners

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges features. Shape: ``(B, C, H, W) -> (B, C, factor * H, factor * W)``."""
        size = [side * self.factor for side in sides(x)]
        return functional.interpolate(x, size, mode=self.mode, align_corners=self.align_corners)


class AdaptiveMean(nn.Module):
    """``nn.AdaptiveAvgPool2d``, exported as two matrix products: for images of any size.

    Args:
        size: Rows and columns of the output.

    Shape: ``(B, C, H, W) -> (B, C, size, size)``.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Averages over the cells of a grid."""
        # A trace is for one size anyway, and its formats have the operator.
        if not torch.compiler.is_compiling():
            return functional.adaptive_avg_pool2d(x, self.size)
        height, width = x.shape[-2:]
        return self._cells(height, x) @ x @ self._cells(width, x).t()

    def _cells(self, length: int, like: Tensor) -> Tensor:
        """Weights of the values along an axis in each cell. Shape: ``(size, length)``."""
        cells = torch.arange(self.size, device=like.device)
        starts = (cells * length) // self.size
        ends = ((cells + 1) * length + self.size - 1) // self.size
        places = torch.arange(length, device=like.device)
        inside = (places >= starts[:, None]) & (places < ends[:, None])
        return inside.to(like.dtype) / (ends - starts)[:, None].to(like.dtype)


def _traceable(module: nn.Module) -> nn.Module | None:
    """What replaces a layer that cannot be traced for images of any size; None to keep it."""
    if isinstance(module, Upsample) and not module.size:
        return Enlarged(module)
    if isinstance(module, nn.AdaptiveAvgPool2d) and isinstance(module.output_size, int):
        return AdaptiveMean(module.output_size)
    return None
