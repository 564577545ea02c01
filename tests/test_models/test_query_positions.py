"""Detectors that choose their queries among the positions of an image."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from casvit_mm.config.read import load_config
from casvit_mm.models.checks.query_positions import ImageTooSmallError, check_query_positions

mmdet_registry = pytest.importorskip('mmdet.registry')


def dino(num_queries):
    from mmdet.structures import DetDataSample

    cfg = load_config('dino_casvit')
    init_default_scope('mmdet')
    cfg.model.backbone.update(arch='xs', init_cfg=None)
    cfg.model.neck.in_channels = [56, 112, 220]
    cfg.model.num_queries = num_queries
    for part in (cfg.model.encoder, cfg.model.decoder):
        part.num_layers = 1
    model = check_query_positions(mmdet_registry.MODELS.build(cfg.model)).eval()
    model.init_weights()
    meta = dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (96, 96))
    sample = DetDataSample(metainfo=dict(meta, scale_factor=(1.0, 1.0)))
    return lambda: model(torch.rand(1, 3, 96, 96), [sample], mode='predict')


def test_an_image_that_is_too_small_is_refused_in_a_sentence():
    # 12 * 12 + 6 * 6 + 3 * 3 + 2 * 2 positions.
    said = r'DINO chooses 900 positions .* \(model\.num_queries\), but .* has 193 .* larger images'
    with pytest.raises(ImageTooSmallError, match=said), torch.no_grad():
        dino(900)()


def test_an_image_with_as_many_positions_as_queries_is_predicted():
    with torch.no_grad():
        (found,) = dino(193)()
    assert 'pred_instances' in found


def test_other_models_get_no_check():
    model = nn.Sequential(nn.Linear(2, 2))
    assert check_query_positions(model) is model
    assert not any(module._forward_hooks for module in model.modules())
