"""Two-stage detectors: Faster R-CNN and Mask R-CNN."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from casvit_mm.deploy.lean.boxes import (
    as_rows,
    best,
    boxes_from_deltas,
    clipped,
    large_enough,
    places_where,
    suppressed,
)
from casvit_mm.deploy.lean.inputs import Normalised


class LeanTwoStage(nn.Module):
    """A detector with region proposals, for one image at a time.

    Args:
        model: A trained ``FasterRCNN`` or ``MaskRCNN`` of mmdet with its standard heads.

    Shape: ``(1, 3, H, W)`` uint8 RGB -> boxes ``(N, 4)`` in pixels of the input, scores ``(N,)``,
    labels ``(N,)`` int64; with masks also ``(N, h, w)``, probabilities over the area of each box.

    Source: mmdet's ``RPNHead``, ``StandardRoIHead``, ``BBoxHead`` and ``FCNMaskHead``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inputs = Normalised(model.data_preprocessor)
        self.backbone, self.neck, self.rpn = model.backbone, model.neck, model.rpn_head
        self.box_regions = Regions(model.roi_head.bbox_roi_extractor)
        self.box_head = model.roi_head.bbox_head
        self.cfg = model.roi_head.test_cfg
        self.with_masks = bool(model.roi_head.with_mask)
        if self.with_masks:
            self.mask_regions = Regions(model.roi_head.mask_roi_extractor)
            self.mask_head = model.roi_head.mask_head

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Predicts the objects in an image."""
        height, width = image.shape[-2:]
        features = self.neck(self.backbone(self.inputs(image)))
        proposals = self._proposals(features, height, width)
        boxes, scores, labels = self._objects(features, proposals, height, width)
        if not self.with_masks:
            return boxes, scores, labels
        logits = self.mask_head(self.mask_regions(features, boxes))
        if self.mask_head.class_agnostic:
            chosen = logits[:, 0]
        else:
            index = labels[:, None, None, None].expand(-1, 1, *logits.shape[2:])
            chosen = logits.gather(1, index)[:, 0]
        return boxes, scores, labels, chosen.sigmoid()

    def _proposals(self, features: Any, height: int, width: int) -> Tensor:
        cfg, coder = self.rpn.test_cfg, self.rpn.bbox_coder
        scores, deltas = self.rpn(features)
        sizes = [each.shape[-2:] for each in scores]
        anchors = self.rpn.prior_generator.grid_priors(sizes, torch.float32, scores[0].device)
        levels = []
        for level, (score, delta, anchor) in enumerate(zip(scores, deltas, anchors, strict=True)):
            rows = as_rows(score, self.rpn.cls_out_channels)
            sigmoid = self.rpn.use_sigmoid_cls
            values = rows.sigmoid()[:, 0] if sigmoid else rows.softmax(-1)[:, 0]
            values, places = best(values, cfg.get('nms_pre', 2**31 - 1))
            number = torch.full_like(places, level)
            levels.append((values, as_rows(delta, 4)[places], anchor[places], number))
        values, rows, chosen, number = (torch.cat(each) for each in zip(*levels, strict=True))
        boxes = clipped(boxes_from_deltas(chosen, rows, coder), height, width)
        if (least := cfg.get('min_bbox_size', -1)) >= 0:
            kept = large_enough(boxes, least)
            boxes, values, number = boxes[kept], values[kept], number[kept]
        return boxes[suppressed(boxes, values, number, height + width, cfg.nms, cfg.max_per_img)]

    def _objects(
        self, features: Any, proposals: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits, deltas = self.box_head(self.box_regions(features, proposals))
        # The last class is the background.
        scores = logits.softmax(-1)[:, :-1]
        classes = scores.shape[1]
        places = places_where(scores.flatten() > self.cfg.score_thr)
        scores = scores.flatten()[places]
        regions, labels = places // classes, places % classes
        rows = deltas[regions] if self.box_head.reg_class_agnostic else deltas.view(-1, 4)[places]
        boxes = boxes_from_deltas(proposals[regions], rows, self.box_head.bbox_coder)
        boxes = clipped(boxes, height, width)
        kept = suppressed(boxes, scores, labels, height + width, self.cfg.nms, self.cfg.max_per_img)
        return boxes[kept], scores[kept], labels[kept]


class Regions(nn.Module):
    """Samples features inside boxes, each from the level that fits its size.

    Args:
        extractor: A ``SingleRoIExtractor`` of mmdet.

    Shape: features, and boxes ``(N, 4)`` -> ``(N, C, h, w)``.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.finest = extractor.finest_scale
        self.layers = [
            (tuple(layer.output_size), layer.spatial_scale, layer.sampling_ratio, layer.aligned)
            for layer in extractor.roi_layers
        ]

    def forward(self, features: Any, boxes: Tensor) -> Tensor:
        """Samples the features."""
        sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        levels = torch.floor(torch.log2(sides / self.finest + 1e-6))
        levels = levels.clamp(min=0, max=len(self.layers) - 1)
        sampled, places = [], []
        for level, (size, scale, ratio, aligned) in enumerate(self.layers):
            chosen = places_where(levels == level)
            regions = torch.cat([torch.zeros_like(boxes[chosen, :1]), boxes[chosen]], 1)
            sampled.append(roi_align(features[level], regions, size, scale, ratio, aligned))
            places.append(chosen)
        # Back into the order of the boxes.
        return torch.cat(sampled)[torch.cat(places).argsort()]
