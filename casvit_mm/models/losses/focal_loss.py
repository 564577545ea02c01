"""A focal loss that can be trained with an exponent below 1."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmdet'):
    from mmdet.models import FocalLoss
    from mmdet.registry import MODELS

CERTAIN = 15.0
"""Logit from which on a right prediction is not made any surer: its loss is below 1e-8."""


@registered_in(MODELS)
class SteadyFocalLoss(FocalLoss):
    """mmdet's ``FocalLoss``, with finite gradients for any ``gamma``.

    Its factor ``(1 - p) ** gamma`` has an infinite slope at ``p = 1`` if gamma is below 1. On CPUs,
    a single prediction that is right and so sure that its probability rounds to 1 makes all
    gradients of the step NaN. Here, the logits of right predictions end at 15. Everything else is
    the same.

    Args:
        use_sigmoid, gamma, alpha, reduction, loss_weight, activated: As for ``FocalLoss``.

    Source: "Focal Loss for Dense Object Detection", arXiv 1708.02002.
    """

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Computes the loss.

        Args:
            pred: Logits. Shape: ``(N, C)``.
            target: Class indices, C for the background; or one-hot. Shape: ``(N,)`` or ``(N, C)``.
            weight: Weights of the samples. Shape: ``(N,)``.
            avg_factor: What the sum is divided by.
            reduction_override: 'none', 'mean' or 'sum', in place of ``reduction``.
        """
        if self.gamma < 1 and not self.activated:
            # In bfloat16, probabilities round to 1 from a logit of 6 on.
            pred = pred.float()
            classes = pred.size(1)
            labelled = target.dim() < pred.dim()
            found = (one_hot(target, classes + 1)[:, :classes] if labelled else target) > 0
            pred = torch.where(found, pred.clamp(max=CERTAIN), pred.clamp(min=-CERTAIN))
        return super().forward(pred, target, weight, avg_factor, reduction_override)
