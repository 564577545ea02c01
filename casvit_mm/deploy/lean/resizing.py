"""Lean models that resize and pad images themselves, and answer for the image as it was given."""

import torch
from torch import Tensor, nn

from casvit.exported.preparation import Fit
from casvit.exported.resize import interpolation
from casvit_mm.deploy.lean.boxes import clipped, places_where
from casvit_mm.deploy.lean.fitting import Fitting


class Resizing(nn.Module):
    """A lean model for images of any size, which become inputs of one size.

    Args:
        network: The lean model: a detector, segmentor or classifier.
        fit: How images become its inputs.
        enlarge_twice: Whether the logits of a segmentor are enlarged to the input, and then to the
            image; or at once, as far as there is no padding.
        align_corners: How they are enlarged.

    Shape: ``(1, 3, H, W)`` uint8 RGB -> the outputs of the network, in pixels of the image:

    - boxes within the image, scores and labels, of objects that are not in the padding. Masks of a
      second stage cover boxes that may reach into the padding: those come after them, ``(N, 4)``;
    - logits of a segmentor without the padding ``(1, classes, h, w)``: what is left is enlarged to
      the image;
    - probabilities.

    Source: :func:`casvit.exported.outputs.to_result`.
    """

    def __init__(
        self,
        network: nn.Module,
        fit: Fit,
        *,
        enlarge_twice: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.fitting, self.room = network, Fitting(fit), fit.to
        self.enlarge_twice, self.align_corners = enlarge_twice, align_corners

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Predicts what is in an image."""
        pixels, inside = self.fitting(image)
        outputs = self.network(pixels)
        if isinstance(outputs, tuple):
            return _in_image(outputs, image.shape[2], image.shape[3], inside)
        if outputs.dim() == 4:
            return self._without_padding(outputs, inside)
        return outputs

    def _without_padding(self, logits: Tensor, inside: Tensor) -> Tensor:
        rows, columns = (
            self._enlarging(cells, side, part)
            for cells, side, part in zip(logits.shape[2:], self.room, inside.split(1), strict=True)
        )
        return rows @ logits @ columns.t()

    def _enlarging(self, cells: int, side: int, inside: Tensor) -> Tensor:
        """The matrix from cells along an axis to pixels that are not padding, or to the cells."""
        matrix = torch.from_numpy(interpolation(cells, side, align_corners=self.align_corners))
        both = torch.cat([matrix, torch.eye(cells)]).to(inside.device)
        place = torch.arange(side + cells, device=inside.device)
        # Without padding, the image fills the side.
        enlarged = inside < (side + 1 if self.enlarge_twice else side)
        chosen = (enlarged & (place < inside)) | (~enlarged & (place >= side))
        return both[places_where(chosen)]


def _in_image(
    outputs: tuple[Tensor, ...], height: int, width: int, inside: Tensor
) -> tuple[Tensor, ...]:
    """Scales the boxes of objects back, and leaves out objects in the padding.

    Args:
        outputs: Boxes in pixels of the input, scores, labels, and perhaps masks of the boxes.
        height: Height of the image.
        width: Width of the image.
        inside: Height and width of the part of the input that is not padding.
    """
    size = torch.stack([torch.ones_like(inside[0]) * side for side in (width, height)]).float()
    boxes = outputs[0] / (inside.flip(0).float() / size).repeat(2)
    kept = places_where((boxes[:, :2] < size).all(1) & (boxes[:, 2:] > 0).all(1))
    boxes, *rest = (each[kept] for each in (boxes, *outputs[1:]))
    masked = [boxes] if len(outputs) > 3 else []
    return (clipped(boxes, height, width), *rest, *masked)
