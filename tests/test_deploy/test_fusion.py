"""A fused model answers what the model answered that it was made from."""

import copy

import numpy as np
import published
import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn

from casvit_mm.deploy import Acceleration, FusedCASViT, accelerate, fuse, is_fused
from casvit_mm.models import CASMixer, CASViT
from casvit_mm.speed.folded_norms import fold_frozen_norms

SHARE = 1e-5


def as_trained(model, seed=0):
    """Gives every norm numbers that are neither 0 nor 1, as a training does."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            size = module.running_mean.shape
            module.running_mean.copy_(torch.randn(size, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(size, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(size, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(size, generator=generator) * 0.3)
    return model.eval()


def norms_of(model):
    return [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]


def assert_equal(actual, expected):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= SHARE * expected.abs().max()


@pytest.mark.parametrize('size', ['xs', 's', 'm', 't', 'l'])
def test_features_stay_the_same_for_odd_images_and_both_layouts(size):
    torch.manual_seed(0)
    backbone = as_trained(CASViT(size))
    before = copy.deepcopy(backbone.state_dict())
    fused = fuse(backbone)
    assert isinstance(fused, FusedCASViT)
    laid_out = fuse(backbone).to(memory_format=torch.channels_last)
    for height, width in ((97, 131), (64, 32), (33, 75)):
        image = torch.randn(2, 3, height, width)
        with torch.no_grad():
            expected = backbone(image)
            for model in (fused, laid_out):
                for level, reference in zip(model(image), expected, strict=True):
                    assert_equal(level, reference)
    assert len(norms_of(fused)) == 4
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize('size', published.SIZES)
def test_features_equal_the_published_ones(size):
    backbone = CASViT(size)
    backbone.load_state_dict(published.weights(size, 'backbone'))
    golden = published.outputs()
    with torch.no_grad():
        levels = fuse(backbone.eval())(published.image(96, 128, 2))
    for index, level in enumerate(levels):
        reference = golden[f'{size}/backbone/level{index}']
        assert np.abs(level[:, ::8].numpy() - reference).max() <= SHARE * np.abs(reference).max()


def test_features_stay_the_same_after_a_training():
    torch.manual_seed(0)
    backbone = CASViT('xs', norm_eval=False, drop_path_rate=0.1).train()
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        sum(level.square().mean() for level in backbone(torch.rand(2, 3, 64, 64))).backward()
        optimizer.step()
    image = torch.rand(1, 3, 80, 72)
    with torch.no_grad():
        expected = backbone.eval()(image)
        for level, reference in zip(fuse(backbone)(image), expected, strict=True):
            assert_equal(level, reference)


@pytest.mark.parametrize(
    'options',
    [
        dict(out_indices=(1, 2)),
        dict(arch=dict(depths=(1, 1, 1, 1), channels=(8, 6, 10, 12)), in_channels=1),
        dict(act_cfg=dict(type='ReLU')),
        dict(act_cfg=dict(type='SiLU')),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
        dict(norm_cfg=dict(type='BN', eps=1e-3)),
        dict(frozen_stages=2),
    ],
    ids=str,
)
def test_options_of_the_backbone_survive(options):
    torch.manual_seed(0)
    backbone = as_trained(CASViT(**{'arch': 'xs', **options}))
    fused = fuse(backbone)
    assert fused.out_indices == backbone.out_indices
    assert fused.out_channels == backbone.out_channels
    image = torch.randn(2, options.get('in_channels', 3), 50, 70)
    with torch.no_grad():
        for level, reference in zip(fused(image), backbone(image), strict=True):
            assert_equal(level, reference)


class Average(nn.Module):
    """A token mixer of somebody's own."""

    def __init__(self, channels, norm_cfg):
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, x):
        return self.pool(x)


class Doubled(CASMixer):
    """A token mixer that has the parts of another, and does something else with them."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(('mixer', 'norms_of_a_block'), [(Average, 1), (Doubled, 3)])
def test_a_token_mixer_that_nobody_knows_stays_as_it_is(mixer, norms_of_a_block):
    backbone = as_trained(CASViT('xs', mixer=dict(type=mixer)))
    fused = fuse(backbone)
    assert len(norms_of(fused)) == 4 + norms_of_a_block * sum((2, 2, 4, 2))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for level, reference in zip(fused(image), backbone(image), strict=True):
            assert_equal(level, reference)
        twin = copy.deepcopy(backbone)
        fold_frozen_norms(twin)
        for level, reference in zip(twin(image), backbone(image), strict=True):
            assert_equal(level, reference)


WHOLE = {
    # What of the norms is left: an output norm that more than one convolution reads.
    'detection/retinanet_casvit-xs_fpn_1x_coco': ['backbone.out_norms.3'],
    'detection/mask_rcnn_casvit-xs_fpn_1x_coco': [],
    'detection/mask_rcnn_casvit-xs_demo_shapes': [],
    'detection/retinanet_casvit-xs_demo_shapes': None,
    'detection/cascade_mask_rcnn_casvit-s_fpn_1x_coco': [],
    'detection/rtmdet_casvit-s_8xb32-300e_coco': None,
    'segmentation/semantic_fpn_casvit-xs_40k_ade20k-512x512': [],
    'segmentation/segformer_casvit-s_80k_ade20k-512x512': None,
    'segmentation/upernet_casvit-s_80k_ade20k-512x512': None,
    'classification/casvit-xs_8xb128_in1k': [],
}


def answers(model, image):
    """Everything that the model's own parts answer, as a flat list."""
    if hasattr(model, 'head'):
        # The last norm goes behind the pooling.
        return [model(image, mode='tensor')]
    features = model.extract_feat(image)
    found = [*features]
    if hasattr(model, 'roi_head'):
        found += [*flat(model.rpn_head(features))]
        heads = model.roi_head.bbox_head
        pooled = features[0][:, :, :7, :7]
        for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
            found += [*flat(head(pooled))]
        masks = model.roi_head.mask_head
        for head in masks if isinstance(masks, nn.ModuleList) else [masks]:
            found += [head(features[0][:, :, :14, :14])]
    else:
        found += [*flat(model(image, mode='tensor'))]
    return found


def flat(value):
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for each in value:
            yield from flat(each)


@pytest.mark.parametrize('two_heads', [True, False])
def test_a_classifier_answers_the_same_from_one_linear_layer(two_heads, configs):
    cfg = Config.fromfile(configs / 'classification/casvit-xs_demo_shapes.py')
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg.model.head.two_heads = two_heads
    model = as_trained(MODELS.build(cfg.model))
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        expected = model(image, mode='tensor')
        assert_equal(fuse(model)(image, mode='tensor'), expected)
    assert norms_of(model) == []
    assert not hasattr(model.head, 'dist_fc')


@pytest.mark.parametrize('name', WHOLE)
def test_a_whole_model_answers_the_same(name, configs):
    cfg = Config.fromfile(configs / f'{name}.py')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = as_trained(revert_sync_batchnorm(MODELS.build(cfg.model)))
    image = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        expected = answers(model, image)
        fused = fuse(model)
        actual = answers(fused, image)
    assert fused is model
    assert is_fused(model)
    assert len(actual) == len(expected)
    for answer, reference in zip(actual, expected, strict=True):
        assert_equal(answer, reference)
    if WHOLE[name] is not None:
        assert norms_of(model) == WHOLE[name]


@pytest.mark.long
@pytest.mark.parametrize(
    'name', [each for each in WHOLE if '_coco' in each or each.startswith('segmentation')]
)
def test_a_whole_compiled_model_answers_the_same(name, configs):
    torch._dynamo.reset()
    cfg = Config.fromfile(configs / f'{name}.py')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = as_trained(revert_sync_batchnorm(MODELS.build(cfg.model)))
    images = [torch.randn(1, 3, height, width) for height, width in ((320, 352), (384, 320))]
    with torch.no_grad():
        expected = [answers(model, image) for image in images]
        accelerate(model, Acceleration(fuse=True, compile=True))
        for image, references in zip(images, expected, strict=True):
            for answer, reference in zip(answers(model, image), references, strict=True):
                assert_equal(answer, reference)


def test_a_fused_model_refuses_to_train(configs):
    cfg = Config.fromfile(configs / 'detection/retinanet_casvit-xs_demo_shapes.py')
    init_default_scope('mmdet')
    model = fuse(MODELS.build(cfg.model))
    model.eval()
    with pytest.raises(RuntimeError, match=r'cannot be trained.*fuse that again'):
        model.train()


def test_what_cannot_be_fused_is_named():
    with pytest.raises(ValueError, match='cannot be fused: its backbone is no CASViT'):
        fuse(nn.Conv2d(3, 3, 1))
    model = nn.Module()
    model.backbone = CASViT('xs')
    with pytest.raises(ValueError, match='fused already'):
        fuse(fuse(model))
