"""A mask head that writes its masks into the image in less time on a CPU."""

import math
from typing import Any

import torch
from torch import Tensor

from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmdet'):
    from mmdet.models import FCNMaskHead
    from mmdet.registry import MODELS


@registered_in(MODELS)
class LightMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` with the same masks, a fraction of whose time goes into pasting them.

    ``FCNMaskHead`` samples each mask at every pixel of its box. Bilinear interpolation works on
    rows and columns apart, so two small matrix products do the same:
    ``rows @ mask @ columns.T``. On other devices, for soft masks and for test-time augmentation,
    this is an ``FCNMaskHead``.
    """

    def _predict_by_feat_single(
        self,
        mask_preds: Tensor,
        bboxes: Tensor,
        labels: Tensor,
        img_meta: dict[str, Any],
        rcnn_test_cfg: Any,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> Tensor:
        """Pastes the masks of an image.

        Args:
            mask_preds: Logits. Shape: ``(N, classes, h, w)``; one class if ``class_agnostic``.
            bboxes: Boxes in the input. Shape: ``(N, 4)``; rescaled in place to those in the image.
            labels: Class indices. Shape: ``(N,)``.
            img_meta: ``ori_shape`` and ``scale_factor``.
            rcnn_test_cfg: ``mask_thr_binary``.
            rescale: Whether the masks are for the image, not for the input.
            activate_map: Whether ``mask_preds`` are probabilities.

        Returns:
            Whether a pixel belongs to each object. Shape: ``(N, H, W)``, bool.
        """
        threshold = rcnn_test_cfg.mask_thr_binary
        if mask_preds.device.type != 'cpu' or not rescale or activate_map or threshold < 0:
            return super()._predict_by_feat_single(
                mask_preds, bboxes, labels, img_meta, rcnn_test_cfg, rescale, activate_map
            )
        # In place, because callers read the boxes in the image from it.
        bboxes /= bboxes.new_tensor(img_meta['scale_factor']).repeat(1, 2)
        chosen = torch.zeros_like(labels) if self.class_agnostic else labels
        probabilities = mask_preds[torch.arange(len(labels)), chosen].float().sigmoid()
        return paste(probabilities, bboxes, img_meta['ori_shape'][:2], threshold)


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Enlarges masks to their boxes, bilinearly, and compares them with a threshold.

    Args:
        masks: Probabilities over the area of each box. Shape: ``(N, h, w)``.
        boxes: Left, top, right and bottom in pixels of the image. Shape: ``(N, 4)``.
        size: Height H and width W of the image.
        threshold: The lowest probability of a pixel in a mask.

    Returns:
        The masks. Shape: ``(N, H, W)``, bool.
    """
    height, width = size
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool)
    rows = _weights(height, boxes[:, 1], boxes[:, 3], masks.shape[1])
    columns = _weights(width, boxes[:, 0], boxes[:, 2], masks.shape[2])
    for index, (left, top, right, bottom) in enumerate(boxes.tolist()):
        # Next to a box, interpolation still reaches its outermost values.
        down = slice(max(0, math.floor(top) - 1), math.ceil(bottom) + 1)
        across = slice(max(0, math.floor(left) - 1), math.ceil(right) + 1)
        enlarged = rows[index, down] @ masks[index] @ columns[index, across].t()
        pasted[index, down, across] = enlarged >= threshold
    return pasted


def _weights(pixels: int, start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Weights of the cells between start and end at each pixel. Shape: ``(N, pixels, cells)``."""
    centres = torch.arange(pixels, dtype=torch.float32) + 0.5
    places = (centres - start[:, None]) / (end - start)[:, None] * cells - 0.5
    return (1 - (places[..., None] - torch.arange(cells)).abs()).clamp(min=0)
