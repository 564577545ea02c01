"""Lean models compute what the models that they are made from predict, bit for bit."""

import numpy as np
import pytest
import torch
from as_trained import as_trained
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from small_models import build
from torch.nn import functional

from casvit.configs import find_config
from casvit_mm.deploy import fuse
from casvit_mm.deploy.convolutions import plain_operators
from casvit_mm.deploy.export.program import Network, exported_program
from casvit_mm.deploy.lean import UnsupportedModelError, lean_model
from casvit_mm.deploy.lean.half import in_half
from casvit_mm.deploy.lean.whole_image import AdaptiveMean
from casvit_mm.models.optional import import_toolbox

DETECTORS = (
    'mask_rcnn_casvit-xs_demo_shapes',
    'mask_rcnn_casvit-xs_light_demo_shapes',
    'retinanet_casvit-xs_demo_shapes',
    'retinanet_casvit-xs_light_demo_shapes',
    'rtmdet_casvit',
    'rtmdet_ins_casvit',
)
SEGMENTORS = (
    'semantic_fpn_casvit-xs_demo_shapes',
    'semantic_fpn_casvit-xs_light_demo_shapes',
    'upernet_casvit-s_80k_ade20k-512x512',
    'segformer_casvit-s_80k_ade20k-512x512',
    'deeplabv3plus_casvit',
)


def trained(name):
    """A config, and its model as after training, fused."""
    cfg, model = as_trained(name)
    return cfg, fuse(model)


def image(height, width):
    """A smooth image. Shape: ``(1, 3, height, width)``, uint8."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 3, height // 16 + 1, width // 16 + 1, generator=generator) * 255
    return functional.interpolate(coarse, (height, width), mode='bilinear').to(torch.uint8)


def predicted(model, pixels, scope):
    """What the model itself predicts for an image, without resizing it back."""
    from mmdet.structures import DetDataSample
    from mmseg.structures import SegDataSample

    size = tuple(pixels.shape[-2:])
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), pad_shape=size)
    kind = {'mmdet': DetDataSample, 'mmseg': SegDataSample}.get(scope, BaseDataElement)
    # Pipelines load BGR.
    batch = dict(inputs=[pixels[0].flip(0)], data_samples=[kind(metainfo=meta)])
    if scope == 'mmdet':
        return model.test_step(batch)[0].pred_instances
    inputs = model.data_preprocessor(batch)['inputs']
    if scope == 'mmseg':
        return model.decode_head(model.extract_feat(inputs))
    return model(inputs, mode='tensor').softmax(1)


def in_order(boxes, scores):
    """Places by falling score; mmdet leaves the order of equal scores open."""
    return torch.from_numpy(np.lexsort((*boxes.numpy().T, -scores.numpy())))


@torch.no_grad()
@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_are_equal_to_their_own_predictions(name):
    _, model = trained(name)
    lean = lean_model(model)
    # RTMDet's neck joins levels that have to be exactly twice as large.
    for size in (160, 224), (96, 128) if 'rtmdet' in name else (90, 133):
        pixels = image(*size)
        expected = predicted(model, pixels, 'mmdet')
        found = lean(pixels)
        assert len(expected) > 5
        expected = expected[in_order(expected.bboxes, expected.scores)]
        found = [each[in_order(*found[:2])] for each in found]
        assert torch.equal(found[0], expected.bboxes)
        assert torch.equal(found[1], expected.scores)
        assert torch.equal(found[2], expected.labels)
        if 'masks' in expected and found[3].shape[-1] != 28 and 'rtmdet' in name:
            logits = functional.interpolate(found[3][None], scale_factor=8, mode='bilinear')[0]
            masks = logits[:, : size[0], : size[1]].sigmoid() > 0.5
            assert torch.equal(masks, expected.masks[:, : size[0], : size[1]])


@torch.no_grad()
@pytest.mark.parametrize('name', [*SEGMENTORS, 'casvit-xs_demo_shapes'])
def test_models_of_whole_images_are_equal_to_their_own_predictions(name):
    cfg, model = trained(name)
    pixels = image(96, 160)
    expected = predicted(model, pixels, cfg.default_scope)
    assert torch.equal(lean_model(model)(pixels), expected)


@torch.no_grad()
def test_an_image_in_which_nothing_is_found_gives_no_objects():
    for name in ('mask_rcnn_casvit-xs_demo_shapes', 'retinanet_casvit-xs_demo_shapes'):
        _, model = trained(name)
        cfg = model.roi_head.test_cfg if hasattr(model, 'roi_head') else model.bbox_head.test_cfg
        cfg.score_thr = 1.1
        outputs = lean_model(model)(image(64, 64))
        assert [len(each) for each in outputs] == [0] * len(outputs)


@torch.no_grad()
@pytest.mark.parametrize(('name', 'objects'), [(DETECTORS[1], 0), (DETECTORS[3], 1)])
def test_a_program_that_was_exported_for_many_objects_answers_with_none_or_one(name, objects):
    _, model = trained(name)
    lean, pixels = lean_model(model), image(96, 96)
    highest = lean(pixels)[1][:2].tolist()
    lean.cfg.score_thr = 1.0 if objects == 0 else sum(highest) / 2
    program = exported_program(Network(lean, pixels, False, False, ())).module()
    assert [len(each) for each in program(pixels)] == [objects] * (4 if lean.with_masks else 3)
    for found, expected in zip(program(pixels), lean(pixels), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('name', ['mask_rcnn_casvit-xs_demo_shapes', 'casvit-xs_demo_shapes'])
def test_half_precision_holds_half_the_bytes_and_changes_little(name):
    _, model = trained(name)
    lean = lean_model(model)
    half = in_half(lean)
    pixels = image(64, 64)
    assert all(value.dtype == torch.float32 for value in lean.parameters())
    assert all(value.dtype == torch.float16 for value in half.parameters())
    with plain_operators():
        scores = [each(pixels) for each in (lean, half)]
    if name.startswith('casvit'):
        assert torch.allclose(*scores, atol=5e-3)
    else:
        assert all(each[0].dtype == torch.float32 for each in scores)
        best = [each[1].max() for each in scores]
        assert torch.allclose(*best, atol=2e-2)


@pytest.mark.parametrize(('height', 'width'), [(6, 6), (16, 28), (7, 5), (3, 40), (1, 1)], ids=str)
@pytest.mark.parametrize('size', [1, 2, 3, 6])
def test_adaptive_means_are_exported_as_products_with_the_same_result(height, width, size):
    values = torch.rand(2, 3, height, width, dtype=torch.float64)
    layer = AdaptiveMean(size)
    program = torch.export.export(layer, (values,), strict=False)
    assert not any('pool' in str(node.target) for node in program.graph.nodes)
    exported = program.module()
    assert torch.allclose(exported(values), functional.adaptive_avg_pool2d(values, size))
    assert torch.equal(layer(values), functional.adaptive_avg_pool2d(values, size))


@pytest.mark.parametrize(
    ('name', 'part'),
    [
        ('cascade_mask_rcnn_casvit', 'CascadeRoIHead'),
        ('fcos_casvit', 'FCOSHead'),
        ('dino_casvit', 'DINOHead'),
        ('mask2former_semantic_casvit', 'Mask2FormerHead'),
    ],
)
def test_models_without_a_lean_form_are_refused_by_their_part(name, part):
    cfg = Config.fromfile(find_config(name))
    import_toolbox(cfg.default_scope)
    cfg.model.backbone.pop('init_cfg', None)
    model = build(cfg)
    with pytest.raises(UnsupportedModelError, match=part):
        lean_model(model)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda model: model.test_cfg.update(mode='slide'), 'sliding windows'),
        (lambda model: setattr(model.decode_head, 'out_channels', 1), 'single output channel'),
    ],
)
def test_segmentors_that_need_more_than_one_pass_are_refused(change, message):
    _, model = trained('semantic_fpn_casvit-xs_demo_shapes')
    change(model)
    with pytest.raises(UnsupportedModelError, match=message):
        lean_model(model)


def test_other_kinds_of_suppression_are_refused():
    _, model = trained('retinanet_casvit-xs_demo_shapes')
    model.bbox_head.test_cfg.nms = dict(type='soft_nms', iou_threshold=0.5)
    with pytest.raises(UnsupportedModelError, match='soft_nms'):
        lean_model(model)


def test_the_normalisation_is_that_of_the_config():
    from mmdet.models import DetDataPreprocessor

    from casvit_mm.deploy.lean.inputs import Normalised

    pixels = image(33, 45)
    for options in (
        dict(mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True, pad_size_divisor=32),
        dict(mean=[103.5, 116.3, 123.7], std=[1, 1, 1], pad_size_divisor=16, pad_value=7),
        dict(),
    ):
        preprocessor = DetDataPreprocessor(**options)
        expected = preprocessor(dict(inputs=[pixels[0].flip(0)], data_samples=[]))['inputs']
        assert torch.equal(Normalised(preprocessor)(pixels), expected)
        assert np.prod(expected.shape) > 0
