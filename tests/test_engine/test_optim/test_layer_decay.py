"""Learning rates fall layer by layer from the head to the stem."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from casvit.errors import UserError
from casvit_mm.engine import CASViTRunner
from casvit_mm.engine.optim.layer_decay import layer_distances
from casvit_mm.models import CASViT
from casvit_mm.speed.training import TrainingSpeed


class Detector(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.backbone = CASViT('xs', norm_eval=False, **options)
        self.bbox_head = nn.Linear(4, 2)


def wrapper(model, rate=0.8, **paramwise):
    init_default_scope('mmengine')
    return build_optim_wrapper(
        model,
        dict(
            constructor='CASViTLayerDecayConstructor',
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
            paramwise_cfg=dict(layer_decay_rate=rate, **paramwise),
        ),
    )


def rates(model, optim_wrapper):
    names = {id(param): name for name, param in model.named_parameters()}
    groups = optim_wrapper.optimizer.param_groups
    return {names[id(p)]: group['lr'] for group in groups for p in group['params']}


def test_each_layer_has_the_rate_of_its_depth():
    model = Detector()
    found = rates(model, wrapper(model))
    assert len(found) == len(list(model.parameters()))
    depths = [len(stage) for stage in model.backbone.stages]
    layers = sum(depths)
    assert found['bbox_head.weight'] == 1
    for stage, depth in enumerate(depths):
        for block in range(depth):
            n = layers - sum(depths[:stage]) - block
            own = [v for k, v in found.items() if k.startswith(f'backbone.stages.{stage}.{block}.')]
            assert own == pytest.approx([0.8**n] * len(own)) and own
        n = layers - sum(depths[: stage + 1]) + 1
        assert found[f'backbone.out_norms.{stage}.weight'] == pytest.approx(0.8**n)
        if stage:
            first = found[f'backbone.stages.{stage}.0.mlp_norm.weight']
            own = [v for k, v in found.items() if f'patch_embeds.{stage - 1}.' in k]
            assert own == pytest.approx([first] * len(own)) and own
    stem = [v for k, v in found.items() if '.stem.' in k]
    assert stem == pytest.approx([0.8 ** (layers + 1)] * len(stem)) and stem


@pytest.mark.parametrize('size', ['xs', 'm'])
def test_mmpretrains_constructor_gives_a_classifier_the_same_rates(size):
    pytest.importorskip('mmpretrain')
    from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
    from mmpretrain.registry import MODELS

    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='CASViT', arch=size, out_indices=(3,), frozen_stages=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='CASViTClsHead', num_classes=5, in_channels=220 if size == 'xs' else 384
            ),
        )
    )
    ours = rates(model, wrapper(model))
    constructor = LearningRateDecayOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05)), dict(layer_decay_rate=0.8)
    )
    assert rates(model, constructor(model)) == pytest.approx(ours)
    assert len(set(ours.values())) > len(model.backbone.stages)


def test_a_parameter_outside_the_backbone_is_in_the_last_layer():
    backbone = CASViT('xs')
    layers = sum(len(stage) for stage in backbone.stages) + 2
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (layers - 1, layers)
    assert backbone.get_layer_depth('backbone.stem.0.weight', 'backbone.') == (0, layers)
    assert backbone.get_layer_depth('stages.3.1.mlp.fc1.weight') == (layers - 2, layers)


def test_multipliers_of_other_rules_apply_as_well():
    model = Detector()
    found = rates(model, wrapper(model, custom_keys={'stem': dict(lr_mult=0.5)}))
    plain = rates(model, wrapper(model))
    name = next(name for name in found if '.stem.' in name)
    assert found[name] == pytest.approx(plain[name] * 0.5)


def test_frozen_stages_have_no_rate():
    model = Detector(frozen_stages=1)
    found = rates(model, wrapper(model))
    assert not any(name.startswith(('backbone.stem', 'backbone.stages.0')) for name in found)
    assert any(name.startswith('backbone.stages.2') for name in found)


@pytest.mark.parametrize('rate', [0, -1, 1.5, 'fast', None])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match='layer_decay_rate'):
        wrapper(Detector(), rate)


def test_a_model_without_the_backbone_is_refused():
    with pytest.raises(UserError, match=r'Sequential does not have: leave .* out'):
        layer_distances(nn.Sequential(nn.Linear(2, 2)))


def test_a_step_moves_the_head_further_than_the_stem():
    torch.manual_seed(0)
    model = Detector()
    optim = wrapper(model, 0.5)
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    loss = sum(level.square().mean() for level in model.backbone(torch.rand(2, 3, 64, 64)))
    optim.update_params(loss + model.bbox_head(torch.rand(1, 4)).square().sum())
    moved = {
        name: (param - before[name]).abs().max().item() for name, param in model.named_parameters()
    }
    stem = max(v for k, v in moved.items() if '.stem.' in k)
    last = max(v for k, v in moved.items() if '.stages.3.' in k)
    assert 0 < stem < last < moved['bbox_head.weight'] + 1e-6


@pytest.mark.parametrize('scope', ['', 'mmpretrain.'])
def test_a_detector_that_asks_for_the_decay_of_classifiers_is_told_the_name_of_ours(scope):
    runner = CASViTRunner.__new__(CASViTRunner)
    runner.model, runner.speed = Detector(), TrainingSpeed()
    options = dict(
        constructor=f'{scope}LearningRateDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1.0),
        paramwise_cfg=dict(layer_decay_rate=0.8),
    )
    with pytest.raises(UserError, match="constructor='CASViTLayerDecayConstructor'"):
        runner.build_optim_wrapper(options)


@pytest.mark.parametrize(
    'name', ['LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor']
)
def test_a_detector_that_asks_for_the_decay_of_other_backbones_is_told_the_name_of_ours(name):
    runner = CASViTRunner.__new__(CASViTRunner)
    runner.model, runner.speed = Detector(), TrainingSpeed()
    options = dict(constructor=name, optimizer=dict(type='AdamW', lr=1.0))
    with pytest.raises(UserError, match="constructor='CASViTLayerDecayConstructor'"):
        runner.build_optim_wrapper(options)
