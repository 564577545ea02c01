"""Single-stage detectors without decoding, for formats that cannot hold it."""

from typing import Any

import torch
from torch import Tensor, nn

from casvit.exported.decoding import DELTAS, DISTANCES
from casvit_mm.deploy.lean.single_stage import LeanSingleStage


class RawSingleStage(nn.Module):
    """What a detector predicts at each place, for one image at a time.

    Args:
        whole: The detector; weights are shared.

    Shape: ``(1, 3, H, W)`` uint8 RGB -> logits ``(1, N, classes)`` and box values ``(1, N, 4)``,
    level by level, row by row.
    """

    def __init__(self, whole: LeanSingleStage) -> None:
        super().__init__()
        self.inputs, self.backbone, self.neck = whole.inputs, whole.backbone, whole.neck
        self.head = whole.head

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predicts the logits and box values."""
        logits, values = self.head(self.neck(self.backbone(self.inputs(image))))
        return (
            torch.cat([_as_rows(each, self.head.cls_out_channels) for each in logits], 1),
            torch.cat([_as_rows(each, 4) for each in values], 1),
        )


def decoding(whole: LeanSingleStage) -> dict[str, Any]:
    """How the outputs of the raw form of a detector become objects, for its description.

    Args:
        whole: The detector.

    Returns:
        See :func:`casvit.exported.decoding.problem_of`.
    """
    head, cfg = whole.head, whole.cfg
    generator, coder = head.prior_generator, head.bbox_coder
    priors = [
        generator.single_level_grid_priors((1, 1), level, device='cpu').tolist()
        for level in range(generator.num_levels)
    ]
    scales = {} if whole.of_points else dict(means=list(coder.means), stds=list(coder.stds))
    return dict(
        kind=DISTANCES if whole.of_points else DELTAS,
        **scales,
        strides=[list(stride) for stride in generator.strides],
        priors=priors,
        divisor=whole.inputs.divisor,
        nms_pre=max(cfg.get('nms_pre', 0), 0),
        score_thr=float(cfg.get('score_thr', 0)),
        iou_threshold=float(cfg.nms.get('iou_threshold', cfg.nms.get('iou_thr', 0.5))),
        class_agnostic=bool(cfg.nms.get('class_agnostic', False)),
        max_per_img=max(cfg.max_per_img, 0),
        min_bbox_size=float(cfg.get('min_bbox_size', -1)),
    )


def _as_rows(values: Tensor, length: int) -> Tensor:
    """The values of each place. Shape: ``(1, A * length, H, W) -> (1, H * W * A, length)``."""
    return values.permute(0, 2, 3, 1).reshape(1, -1, length)
