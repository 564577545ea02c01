"""Levels that no head reads, in training of one process and of several."""

import copy
from itertools import product

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from two_processes import in_two_processes

from casvit_mm.engine import BFloat16OptimWrapper
from casvit_mm.models import CASViT
from casvit_mm.models import backbone as shared
from casvit_mm.speed.dense_parts import compiled
from casvit_mm.speed.folded_norms import fold_frozen_norms

ARCH = dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))
CHANNELS = list(ARCH['channels'])
BACKBONE = dict(type='CASViT', arch=ARCH, norm_eval=False)
# As the README leads to: a pyramid that starts at the second of four levels.
FCOS = dict(
    type='mmdet.FCOS',
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32),
    backbone=BACKBONE,
    neck=dict(
        type='mmdet.FPN',
        in_channels=CHANNELS,
        out_channels=16,
        start_level=1,
        add_extra_convs='on_output',
        num_outs=5,
    ),
    bbox_head=dict(type='mmdet.FCOSHead', num_classes=3, in_channels=16, stacked_convs=1),
)
# mmseg's heads for backbones of stride 8 read the last levels alone.
PSPNET = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(type='mmseg.SegDataPreProcessor', size=(64, 64)),
    backbone=BACKBONE,
    decode_head=dict(
        type='mmseg.PSPHead',
        in_channels=CHANNELS[3],
        in_index=3,
        channels=8,
        num_classes=3,
        norm_cfg=dict(type='BN'),
    ),
    auxiliary_head=dict(
        type='mmseg.FCNHead', in_channels=CHANNELS[2], in_index=2, channels=8, num_classes=3
    ),
)


def objects():
    return demo_mm_inputs(2, [[3, 64, 96]] * 2, num_classes=3, with_mask=False)


def maps():
    samples = []
    for _ in range(2):
        label = PixelData(data=torch.randint(0, 3, (1, 64, 64)))
        samples.append(SegDataSample(gt_sem_seg=label, metainfo=dict(img_shape=(64, 64))))
    images = [torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    return dict(inputs=images, data_samples=samples)


CASES = dict(fcos=('mmdet', FCOS, objects), pspnet=('mmseg', PSPNET, maps))


def built(name, **backbone):
    scope, cfg, batch = CASES[name]
    init_default_scope(scope)
    torch.manual_seed(0)
    cfg = copy.deepcopy(cfg)
    cfg['backbone'].update(backbone)
    return MODELS.build(cfg).train(), batch()


def two_steps_of_each():
    """Trains each model with each wrapper and switch."""
    wrappers = [OptimWrapper, BFloat16OptimWrapper, OptimWrapper, OptimWrapper]
    for name, (index, wrapper) in product(CASES, enumerate(wrappers)):
        model, batch = built(name, with_cp=index == 2)
        keys = set(model.state_dict())
        if index == 3:
            # Traced, but run by torch's own kernels: to compile a backward pass takes minutes.
            model.backbone.forward = compiled(
                model.backbone.forward, dynamic=False, backend='eager'
            )
        together = MMDistributedDataParallel(model, broadcast_buffers=False)
        optimizer = torch.optim.SGD(together.parameters(), lr=1e-3)
        # DistributedDataParallel raises at the second step.
        for _ in range(2):
            losses = together.train_step(batch, wrapper(optimizer=optimizer))
            assert torch.isfinite(losses['loss'])
        assert set(model.state_dict()) == keys


def test_two_processes_train_models_whose_heads_leave_levels_unread():
    # Whatever this process has imported, those that are forked from it need not.
    for name in CASES:
        built(name)
    in_two_processes(two_steps_of_each)


def gradients(model, batch):
    model.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    batch = model.data_preprocessor(copy.deepcopy(batch), True)
    losses = model(**batch, mode='loss')
    model.parse_losses(losses)[0].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.fixture
def several(monkeypatch):
    """Says whether this process shall think that it trains with others."""

    def say(answer):
        monkeypatch.setattr(shared, '_has_several_processes', lambda: answer)

    return say


@pytest.mark.parametrize('change', ['plain', 'with_cp', 'folded', 'channels last', 'bf16'])
@pytest.mark.parametrize('name', CASES)
def test_gradients_that_were_there_stay_the_same_bit_for_bit(name, change, several):
    model, batch = built(name, with_cp=change == 'with_cp', norm_eval=change == 'folded')
    if change == 'folded':
        fold_frozen_norms(model.backbone)
    if change == 'channels last':
        model.backbone.to(memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16, enabled=change == 'bf16'):
        several(False)
        expected = gradients(model, batch)
        several(True)
        found = gradients(model, batch)
    unread = [key for key, gradient in expected.items() if gradient is None]
    assert unread and all(key.startswith('backbone.out_norms.') for key in unread)
    for key, gradient in expected.items():
        if gradient is None:
            assert found[key].eq(0).all()
        else:
            assert torch.equal(found[key], gradient), key


def test_frozen_levels_stay_without_a_gradient(several):
    several(True)
    backbone = CASViT(ARCH, frozen_stages=2)
    features = backbone(torch.rand(1, 3, 64, 64))
    assert [feature.requires_grad for feature in features] == [False, False, True, True]
    features[2].sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_values_and_layout_pass_as_they_are(several):
    backbone = CASViT(ARCH).to(memory_format=torch.channels_last)
    image = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    several(False)
    expected = backbone(image)
    several(True)
    for feature, reference in zip(backbone(image), expected, strict=True):
        assert torch.equal(feature, reference)
        assert feature.stride() == reference.stride()


@pytest.mark.parametrize('several_processes', [True, False])
def test_a_run_of_one_process_and_inference_pay_nothing(several_processes, several):
    several(several_processes)
    backbone = CASViT(ARCH)
    image = torch.rand(1, 3, 64, 64)
    joined = 'JoinedGradientsBackward' in type(backbone(image)[0].grad_fn).__name__
    assert joined == several_processes
    with torch.no_grad():
        assert all(feature.grad_fn is None for feature in backbone(image))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='mixed precision in float16 needs a GPU')
def test_float16_trains_with_unread_levels(several):
    several(True)
    model, batch = built('fcos')
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.cuda().parameters(), lr=1e-3))
    wrapper.zero_grad = lambda: None
    losses = model.train_step(batch, wrapper)
    assert torch.isfinite(losses['loss'])
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_single_level_is_left_as_it_is(several):
    several(True)
    backbone = nn.Sequential(CASViT(ARCH, out_indices=(3,)))
    assert 'Joined' not in type(backbone(torch.rand(1, 3, 64, 64))[0].grad_fn).__name__
