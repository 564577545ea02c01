"""Test-time augmentation of boxes and masks."""

import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample

from casvit_mm.engine import InstanceTTAModel


class Module(nn.Module):
    def test_step(self, data):
        raise NotImplementedError


@pytest.fixture
def tta():
    nms = dict(type='nms', iou_threshold=0.5)
    return InstanceTTAModel(module=Module(), tta_cfg=dict(nms=nms, max_per_img=2))


def view(flip, boxes, scores, masks=True, size=(20, 30)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    sample = DetDataSample(
        metainfo=dict(ori_shape=size, flip=flip, flip_direction='horizontal' if flip else None)
    )
    instances = InstanceData(
        bboxes=boxes, scores=torch.tensor(scores), labels=torch.zeros(len(boxes), dtype=torch.long)
    )
    if masks:
        canvas = torch.zeros(len(boxes), *size, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(canvas, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
        instances.masks = canvas
    sample.pred_instances = instances
    return sample


def test_an_object_seen_in_both_views_is_one_detection_with_the_better_mask(tta):
    plain = view(False, [[2, 3, 10, 12]], [0.6])
    flipped = view(True, [[20, 3, 28, 12]], [0.9])
    (merged,) = tta.merge_preds([[plain, flipped]])
    found = merged.pred_instances
    assert found.bboxes.tolist() == [[2, 3, 10, 12]]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert torch.equal(found.masks, view(False, [[2, 3, 10, 12]], [0.9]).pred_instances.masks)


def test_at_most_max_per_img_detections_are_kept_best_first(tta):
    plain = view(False, [[0, 0, 4, 4], [10, 10, 16, 16]], [0.3, 0.5])
    flipped = view(True, [[0, 0, 6, 6]], [0.8])
    (merged,) = tta.merge_preds([[plain, flipped]])
    found = merged.pred_instances
    assert found.scores.tolist() == pytest.approx([0.8, 0.5])
    assert found.bboxes.tolist() == [[24, 0, 30, 6], [10, 10, 16, 16]]
    assert found.masks[0, :6, 24:].all() and found.masks[0].sum() == 36


def test_detections_without_masks_are_merged_too(tta):
    views = [
        view(False, [[2, 3, 10, 12]], [0.6], masks=False),
        view(True, [[20, 3, 28, 12]], [0.9], masks=False),
    ]
    (merged,) = tta.merge_preds([views])
    assert len(merged.pred_instances) == 1
    assert 'masks' not in merged.pred_instances


def test_views_without_detections_give_none(tta):
    (merged,) = tta.merge_preds([[view(False, [], []), view(True, [], [])]])
    assert len(merged.pred_instances) == 0
