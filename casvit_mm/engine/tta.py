"""Test-time augmentation that keeps masks."""

import torch
from mmcv.ops import batched_nms
from mmengine.structures import InstanceData
from torch import Tensor

from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmdet'):
    from mmdet.models.test_time_augs import DetTTAModel
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample


@registered_in(MODELS)
class InstanceTTAModel(DetTTAModel):
    """Merges the detections of several views of an image: boxes, and masks if there are any.

    Detections of all views are flipped back and go through one non-maximum suppression of the
    boxes; each mask stays with its detection. (mmdet's own model does not support masks.)

    Args:
        tta_cfg (dict): ``nms``, as in :func:`mmcv.ops.batched_nms`, and ``max_per_img``.
    """

    def _merge_single_sample(self, data_samples: list[DetDataSample]) -> DetDataSample:
        views = [sample.pred_instances for sample in data_samples]
        masks = [
            flip_back(view.masks, sample.metainfo)
            for view, sample in zip(views, data_samples, strict=True)
            if 'masks' in view
        ]
        merged = data_samples[0]
        boxes, scores = self.merge_aug_bboxes(
            [view.bboxes for view in views],
            [view.scores for view in views],
            [sample.metainfo for sample in data_samples],
        )
        if not len(boxes):
            return merged
        labels = torch.cat([view.labels for view in views])
        detections, kept = batched_nms(boxes, scores, labels, self.tta_cfg['nms'])
        kept = kept[: self.tta_cfg['max_per_img']]
        detections = detections[: self.tta_cfg['max_per_img']]
        merged.pred_instances = InstanceData(
            bboxes=detections[:, :4], scores=detections[:, 4], labels=labels[kept]
        )
        if masks:
            merged.pred_instances.masks = torch.cat(masks)[kept]
        return merged


def flip_back(masks: Tensor, metainfo: dict) -> Tensor:
    """Undoes the flip of one view. Shape: ``(N, H, W) -> (N, H, W)``."""
    if not metainfo.get('flip'):
        return masks
    dims = {'horizontal': (2,), 'vertical': (1,), 'diagonal': (1, 2)}
    return masks.flip(dims[metainfo['flip_direction']])
