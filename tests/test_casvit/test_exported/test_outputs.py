"""Outputs of networks become the results that OpenMMLab makes of them, without PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from torch.nn import functional

from casvit.exported.description import Description
from casvit.exported.outputs import to_result
from casvit.exported.preparation import Prepared

DESCRIPTION = Description(
    format='onnx',
    task='semantic',
    model='',
    classes=tuple(map(str, range(9))),
    palette=((0, 0, 0),) * 9,
    size=None,
    batch=1,
    preparation=[],
)


def prepared_image(height, width, inside=None, scale=(1.0, 1.0)):
    return Prepared(np.zeros((height, width, 3), np.uint8), scale, inside or (height, width))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(96, 128), (50, 61), (300, 411), (7, 5)], ids=str)
def test_classes_of_pixels_are_those_of_logits_that_are_enlarged_twice(size, align_corners):
    generator = torch.Generator().manual_seed(0)
    logits = functional.interpolate(torch.randn(1, 9, 8, 9, generator=generator), (24, 32))
    options = dict(mode='bilinear', align_corners=align_corners)
    expected = functional.interpolate(logits, (96, 128), **options)
    # The lower and right part is padding.
    expected = functional.interpolate(expected[..., :90, :120], size, **options)[0].argmax(0)
    description = replace(DESCRIPTION, align_corners=align_corners)
    result = to_result(
        [logits[0].numpy()], prepared_image(96, 128, (90, 120)), size, description, 0
    )
    differs = result.class_ids != expected.numpy()
    # Rounding decides where two classes are equal.
    assert differs.mean() < 2e-4


def test_classes_of_pixels_are_those_of_logits_that_are_enlarged_once():
    logits = torch.randn(1, 9, 24, 32, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(logits, (150, 200), mode='bilinear')[0].argmax(0)
    once = replace(DESCRIPTION, enlarge_twice=False)
    result = to_result([logits[0].numpy()], prepared_image(96, 128), (150, 200), once, 0)
    assert (result.class_ids != expected.numpy()).mean() < 2e-4


def instances(**options):
    return replace(DESCRIPTION, task='instance', **options)


def test_masks_of_boxes_are_pasted_like_mmdet_does():
    rng = np.random.default_rng(0)
    count, height, width = 40, 120, 160
    corners = rng.uniform(-10, [140, 100], (count, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 90, (count, 2))], 1)
    boxes = boxes.clip(0, [width, height] * 2).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.25)
    coarse = torch.from_numpy(rng.uniform(0, 1, (count, 1, 7, 7)).astype(np.float32))
    masks = functional.interpolate(coarse, (28, 28), mode='bicubic').clamp(0, 1)
    expected, _ = _do_paste_mask(masks, torch.from_numpy(boxes), height, width, skip_empty=False)
    outputs = [boxes, np.full(count, 0.9, np.float32), np.arange(count) % 9, masks[:, 0].numpy()]
    result = to_result(outputs, prepared_image(height, width), (height, width), instances(), 0.3)
    differs = result.dense_masks != (expected >= 0.5).numpy()
    assert differs.sum() <= 1e-4 * expected.numel()
    assert result.dense_masks.any(axis=(1, 2)).mean() > 0.5


def test_masks_of_the_whole_input_are_enlarged_like_mmdet_does():
    generator = torch.Generator().manual_seed(0)
    logits = functional.interpolate(torch.randn(1, 6, 5, 7, generator=generator), (12, 16))
    scale, size = (128 / 171, 90 / 120), (120, 171)
    expected = functional.interpolate(logits, scale_factor=8, mode='bilinear')
    enlarged = [int(np.ceil(96 / scale[1])), int(np.ceil(128 / scale[0]))]
    expected = functional.interpolate(expected, size=enlarged, mode='bilinear')
    expected = expected[0, :, : size[0], : size[1]].sigmoid() > 0.4
    outputs = [
        np.tile(np.array([0, 0, 9, 9], np.float32), (6, 1)),
        np.ones(6, np.float32),
        np.zeros(6, np.int64),
        logits[0].numpy(),
    ]
    description = instances(mask_threshold=0.4, mask_stride=8)
    result = to_result(outputs, prepared_image(96, 128, (90, 128), scale), size, description, 0.3)
    assert (result.dense_masks != expected.numpy()).mean() < 1e-4


def test_objects_below_the_threshold_are_left_out_and_boxes_are_scaled_to_the_image():
    outputs = [
        np.array([[10, 20, 30, 40], [1, 2, 3, 4]], np.float32),
        np.array([0.5, 0.2], np.float32),
        np.array([3, 4]),
    ]
    description = replace(DESCRIPTION, task='detection')
    image = prepared_image(50, 100, scale=(0.5, 0.25))
    result = to_result(outputs, image, (200, 200), description, 0.3)
    assert result.boxes.tolist() == [[20, 80, 60, 160]] and result.names == ['3']
    nothing = to_result([each[:0] for each in outputs], image, (200, 200), description, 0.3)
    assert len(nothing) == 0


def test_objects_in_the_padding_are_left_out_and_boxes_end_at_the_image():
    outputs = [
        np.array([[10, 20, 90, 45], [61, 5, 70, 9], [5, 41, 20, 48]], np.float32),
        np.full(3, 0.9, np.float32),
        np.array([0, 1, 2]),
        np.ones((3, 4, 4), np.float32),
    ]
    image = prepared_image(50, 100, inside=(40, 60))
    result = to_result(outputs, image, (40, 60), instances(), 0.3)
    assert result.boxes.tolist() == [[10, 20, 60, 40]] and result.class_ids.tolist() == [0]
    # The mask belongs to the whole box, not to the part of it that is inside.
    assert result.dense_masks[0, 28:, 22:].all()


def test_probabilities_are_those_of_the_classifier():
    description = replace(DESCRIPTION, task='classification')
    scores = np.linspace(0, 1, 9, dtype=np.float32)
    result = to_result([scores], prepared_image(8, 8), (30, 40), description, 0)
    assert np.array_equal(result.scores, scores) and (result.height, result.width) == (30, 40)
