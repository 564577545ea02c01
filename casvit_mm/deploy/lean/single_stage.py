"""Single-stage detectors: RetinaNet, and RTMDet with or without masks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from casvit_mm.deploy.lean.boxes import (
    as_rows,
    best,
    boxes_from_deltas,
    boxes_from_distances,
    clipped,
    large_enough,
    places_where,
    suppressed,
)
from casvit_mm.deploy.lean.inputs import Normalised


class LeanSingleStage(nn.Module):
    """A detector with dense heads, for one image at a time.

    Args:
        model: A trained detector of mmdet whose ``bbox_head`` predicts a sigmoid score per class,
            and deltas of anchors or distances from points.

    Shape: ``(1, 3, H, W)`` uint8 RGB -> boxes ``(N, 4)`` in pixels of the input, scores ``(N,)``,
    labels ``(N,)`` int64; with masks also logits ``(N, H', W')`` over the whole padded input, at
    the stride of the first level.

    Source: mmdet's ``BaseDenseHead._predict_by_feat_single``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inputs = Normalised(model.data_preprocessor)
        self.backbone, self.neck, self.head = model.backbone, model.neck, model.bbox_head
        self.cfg = self.head.test_cfg
        self.of_points = type(self.head.bbox_coder).__name__ == 'DistancePointBBoxCoder'

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Predicts the objects in an image."""
        height, width = image.shape[-2:]
        outputs = self.head(self.neck(self.backbone(self.inputs(image))))
        scores, labels, found = self._candidates(*outputs[:3] if self.with_masks else outputs)
        boxes = clipped(self._boxes(*found[:2]), height, width)
        if (least := self.cfg.get('min_bbox_size', -1)) >= 0:
            kept = large_enough(boxes, least)
            boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
            found = [each[kept] for each in found]
        kept = suppressed(boxes, scores, labels, height + width, self.cfg.nms, self.cfg.max_per_img)
        answer = boxes[kept], scores[kept], labels[kept]
        if not self.with_masks:
            return answer
        return (*answer, self._masks(outputs[3], found[2][kept], found[1][kept]))

    @property
    def with_masks(self) -> bool:
        """Whether it predicts masks from kernels of its own for each object."""
        return hasattr(self.head, 'num_gen_params')

    def _candidates(self, *outputs: Any) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Scores, labels, and [box values, priors, kernels] of the best candidates of each level.

        The best are chosen before low scores are left out: the same ones, and the number to choose
        from is known from the size of the image.
        """
        sizes = [each.shape[-2:] for each in outputs[0]]
        # Masks are drawn relative to the stride of the level that found an object.
        options: dict[str, Any] = dict(with_stride=True) if self.with_masks else {}
        priors = self.head.prior_generator.grid_priors(
            sizes, torch.float32, outputs[0][0].device, **options
        )
        levels = []
        for level, prior in zip(zip(*outputs, strict=True), priors, strict=True):
            scores = as_rows(level[0], self.head.cls_out_channels).sigmoid()
            values, places = best(scores.flatten(), self.cfg.get('nms_pre', 2**31 - 1))
            rows = places // scores.shape[1]
            lengths = [4, *(each.shape[1] for each in level[2:])]
            found = [
                as_rows(each, length)[rows] for each, length in zip(level[1:], lengths, strict=True)
            ]
            levels.append((values, places % scores.shape[1], found[0], prior[rows], *found[1:]))
        values, labels, *rest = (torch.cat(each) for each in zip(*levels, strict=True))
        kept = places_where(values > self.cfg.get('score_thr', 0))
        return values[kept], labels[kept], [each[kept] for each in rest]

    def _boxes(self, values: Tensor, priors: Tensor) -> Tensor:
        if self.of_points:
            return boxes_from_distances(priors[:, :2], values)
        return boxes_from_deltas(priors, values, self.head.bbox_coder)

    def _masks(self, features: Tensor, kernels: Tensor, priors: Tensor) -> Tensor:
        """Masks of objects: a small network of its own for each, over shared features.

        Source: mmdet's ``RTMDetInsHead._mask_predict_by_feat_single``.
        """
        height, width = features.shape[-2:]
        places = self.head.prior_generator.single_level_grid_priors(
            (height, width), level_idx=0, device=features.device
        )[:, :2]
        offsets = (priors[:, None, :2] - places) / (priors[:, None, 2:3] * 8)
        shared = features[0].flatten(1).t().expand(priors.shape[0], -1, -1)
        x = torch.cat([offsets, shared], 2)
        split = kernels.split(self.head.weight_nums + self.head.bias_nums, 1)
        count = len(self.head.weight_nums)
        for index, (weight, bias) in enumerate(zip(split[:count], split[count:], strict=True)):
            matrix = weight.unflatten(1, (bias.shape[1], -1))
            x = torch.baddbmm(bias[:, None], x, matrix.transpose(1, 2))
            if index < count - 1:
                x = functional.relu(x)
        return x[..., 0].reshape(-1, height, width)
