"""Raw outputs of detectors become the objects that torchvision and mmdet make of them."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torchvision.ops import nms

from casvit.exported.decoding import decode, problem_of, rows_of, suppress
from casvit.exported.description import ExportedModelError, parse_description
from casvit_mm.deploy.lean import decoding

SIZE = 96, 160
CLASSES = 5


def random_boxes(count, seed, extent, whole):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, extent, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 200, (count, 2))], 1)
    scores = rng.random(count)
    if whole:
        # Overlaps that equal the threshold, and equal scores.
        boxes, scores = boxes.round(-1), scores.round(1)
    return boxes.astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.6, 0.7])
@pytest.mark.parametrize('count', [0, 1, 255, 257, 1200])
def test_the_boxes_that_torchvision_keeps_are_kept_in_its_order(count, threshold, whole):
    for extent in (100, 3000):
        boxes, scores = random_boxes(count, count + extent, extent, whole)
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).numpy()
        assert np.array_equal(suppress(boxes, scores, threshold), expected)
        for most in (1, 100):
            assert np.array_equal(suppress(boxes, scores, threshold, most), expected[:most])


def test_boxes_without_area_do_not_suppress_each_other():
    boxes = np.zeros((3, 4), np.float32)
    scores = np.ones(3, np.float32)
    assert np.array_equal(
        suppress(boxes, scores, 0.5), nms(*map(torch.tensor, (boxes, scores)), 0.5)
    )


def retina(**cfg):
    return dict(
        type='RetinaHead',
        num_classes=CLASSES,
        in_channels=4,
        feat_channels=4,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32],
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.1, 0, 0, 0], target_stds=[0.5, 1.0, 0.2, 0.2]
        ),
        test_cfg=cfg,
    )


def rtmdet(**cfg):
    return dict(
        type='RTMDetHead',
        num_classes=CLASSES,
        in_channels=4,
        feat_channels=32,
        stacked_convs=1,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        test_cfg=cfg,
    )


NMS = dict(type='nms', iou_threshold=0.5)
SETTINGS = {
    'usual': dict(nms_pre=1000, score_thr=0.05, nms=NMS, max_per_img=100),
    'few candidates': dict(nms_pre=40, score_thr=0.05, nms=NMS, max_per_img=100),
    'all candidates': dict(score_thr=0.3, nms=NMS, max_per_img=200),
    'high threshold': dict(nms_pre=1000, score_thr=0.9, nms=NMS, max_per_img=100),
    'nothing': dict(nms_pre=1000, score_thr=1.0, nms=NMS, max_per_img=100),
    'no small boxes': dict(nms_pre=1000, score_thr=0.3, nms=NMS, max_per_img=300, min_bbox_size=20),
    'all classes together': dict(
        nms_pre=1000, score_thr=0.3, nms={**NMS, 'class_agnostic': True}, max_per_img=300
    ),
}


@pytest.mark.parametrize('setting', SETTINGS)
@pytest.mark.parametrize('kind', [retina, rtmdet])
def test_raw_outputs_become_the_objects_that_mmdet_predicts(kind, setting):
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(ConfigDict(kind(**SETTINGS[setting])))
    generator = torch.Generator().manual_seed(len(setting))
    places = [(head.num_base_priors, SIZE[0] // each, SIZE[1] // each) for each in (8, 16, 32)]
    count = sum(map(math.prod, places))
    # Logits far enough apart that rounding does not decide which score is higher.
    logits = torch.linspace(-4, 4, count * CLASSES)[
        torch.randperm(count * CLASSES, generator=generator)
    ]
    maps = [
        [
            each.reshape(1, -1, *place[1:])
            for each, place in zip(
                numbers.split([math.prod(place) * length for place in places]), places, strict=True
            )
        ]
        for numbers, length in (
            (logits, CLASSES),
            (torch.randn(count * 4, generator=generator), 4),
        )
    ]
    if kind is rtmdet:
        maps[1] = [each.exp() * 12 for each in maps[1]]
    (expected,) = head.predict_by_feat(
        *maps, batch_img_metas=[dict(img_shape=SIZE, scale_factor=(1, 1))]
    )

    whole = SimpleNamespace(
        head=head,
        cfg=head.test_cfg,
        of_points=kind is rtmdet,
        inputs=SimpleNamespace(divisor=32),
    )
    raw = json.loads(json.dumps(decoding(whole)))
    assert problem_of(raw) == ''
    rows, values = (
        torch.cat([each[0].permute(1, 2, 0).reshape(-1, length) for each in levels]).numpy()
        for levels, length in zip(maps, (CLASSES, 4), strict=True)
    )
    assert rows_of(SIZE, raw) == len(rows)
    boxes, scores, labels = decode(rows, values, SIZE, raw)
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    assert len(boxes) == len(expected) and (len(boxes) > 0) == (setting != 'nothing')
    assert np.array_equal(labels, expected.labels.numpy())
    np.testing.assert_allclose(boxes, expected.bboxes.numpy(), atol=1e-3, rtol=0)
    np.testing.assert_allclose(scores, expected.scores.numpy(), atol=1e-6, rtol=0)


def test_rows_follow_from_the_padded_size():
    raw = dict(strides=[[8, 8], [16, 16]], priors=[[[0, 0]] * 3, [[0, 0]]], divisor=32)
    # 65 x 90 becomes 96 x 96: 12 x 12 places with three priors, and 6 x 6 with one.
    assert rows_of((65, 90), raw) == 12 * 12 * 3 + 6 * 6


def test_very_large_and_missing_numbers_are_no_error():
    raw = valid(score_thr=0.0, nms_pre=0)
    logits = np.full((rows_of(SIZE, raw), CLASSES), -1e30, np.float32)
    values = np.full((len(logits), 4), 1e30, np.float32)
    logits[0], logits[1] = 1e30, np.nan
    boxes, scores, _ = decode(logits, values, SIZE, raw)
    assert (scores == 1).all() and len(scores) == CLASSES and np.isfinite(boxes).all()


def valid(**changes):
    raw = dict(
        kind='deltas',
        means=[0, 0, 0, 0],
        stds=[1, 1, 1, 1],
        strides=[[32, 32]],
        priors=[[[-8.0, -8.0, 8.0, 8.0]]],
        divisor=32,
        nms_pre=1000,
        score_thr=0.05,
        iou_threshold=0.5,
        class_agnostic=False,
        max_per_img=100,
        min_bbox_size=-1,
    )
    return {**raw, **changes}


@pytest.mark.parametrize(
    'changes',
    [
        dict(kind='poetry'),
        dict(kind=['deltas']),
        dict(kind='distances'),
        dict(strides=[]),
        dict(strides=[[0, 32]]),
        dict(strides=[[32.5, 32]]),
        dict(strides=[[32, 32], [64, 64]]),
        dict(strides=8),
        dict(priors=[[]]),
        dict(priors=[[[1, 2, 3]]]),
        dict(priors=[[['a', 0, 0, 0]]]),
        dict(priors=[[[1e99, 0, 0, 0]]]),
        dict(priors=['abcd']),
        dict(means=None),
        dict(stds=[1, 1, 1, float('nan')]),
        dict(divisor=0),
        dict(divisor=True),
        dict(nms_pre=-1),
        dict(nms_pre=2.5),
        dict(max_per_img='all'),
        dict(score_thr=None),
        dict(score_thr=2),
        dict(iou_threshold='half'),
        dict(min_bbox_size=float('inf')),
        dict(class_agnostic=1),
    ],
    ids=str,
)
def test_a_decoding_that_cannot_be_carried_out_is_a_sentence(changes):
    assert problem_of(valid()) == ''
    description = dict(
        version=1,
        format='ncnn',
        task='detection',
        model='RetinaNet',
        classes=['cat'],
        palette=[[1, 2, 3]],
        size=[64, 96],
        batch=1,
        preparation=[],
    )
    assert parse_description(json.dumps({**description, 'raw': valid()}), 'a').raw == valid()
    with pytest.raises(ExportedModelError, match=r'^The description in a is invalid \(.*decoding'):
        parse_description(json.dumps({**description, 'raw': valid(**changes)}), 'a')


@pytest.mark.parametrize('task', ['instance', 'semantic', 'classification'])
def test_only_detectors_leave_decoding_to_the_predictor(task):
    content = json.dumps(
        dict(
            version=1,
            format='onnx',
            task=task,
            model='RetinaNet',
            classes=['cat'],
            palette=[[1, 2, 3]],
            size=None,
            batch=1,
            preparation=[],
            raw=valid(),
        )
    )
    with pytest.raises(ExportedModelError, match=f'decoding of boxes for {task}'):
        parse_description(content, 'a')
