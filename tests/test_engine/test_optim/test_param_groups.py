"""Parameters with the same options share a group, and training stays the same."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from casvit_mm.engine.optim.param_groups import merge_alike
from casvit_mm.models import CASViT

OPTIMIZERS = [
    dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    dict(type='AdamW', lr=1e-3, weight_decay=0.05, foreach=True),
    dict(type='SGD', lr=1e-2, momentum=0.9, weight_decay=0.01),
]
RULES = dict(
    norm_decay_mult=0.0, bias_lr_mult=2.0, custom_keys={'stem': dict(lr_mult=0.1, decay_mult=0.5)}
)


def trained(constructor, optimizer, rules):
    """Trains a model for three steps; returns it and its optimiser."""
    init_default_scope('mmengine')
    torch.manual_seed(0)
    model = CASViT('xs', norm_eval=False).double()
    wrapper = build_optim_wrapper(
        model, dict(constructor=constructor, optimizer=optimizer, paramwise_cfg=rules)
    )
    for _ in range(3):
        images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
        wrapper.update_params(sum(level.square().mean() for level in model(images)))
    return model, wrapper.optimizer


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('rules', [RULES, None])
def test_the_trained_weights_are_bit_identical(optimizer, rules):
    ours, grouped = trained('GroupedOptimWrapperConstructor', optimizer, rules)
    theirs, single = trained('DefaultOptimWrapperConstructor', optimizer, rules)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), name
    assert len(grouped.param_groups) <= 6
    assert rules is None or len(single.param_groups) > 100


def test_groups_with_different_options_stay_separate():
    tensors = [torch.zeros(1) for _ in range(5)]
    options = [dict(lr=1.0), dict(lr=2.0), dict(lr=1.0), dict(), dict(lr=1.0, weight_decay=0.0)]
    groups = [dict(params=[each], **option) for each, option in zip(tensors, options, strict=True)]
    merged = merge_alike(groups)
    found = [{k: v for k, v in group.items() if k != 'params'} for group in merged]
    assert found == [dict(lr=1.0), dict(lr=2.0), dict(), dict(lr=1.0, weight_decay=0.0)]
    assert merged[0]['params'][0] is tensors[0] and merged[0]['params'][1] is tensors[2]
