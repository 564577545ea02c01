"""Features at output stride 16 and 8, for heads like DeepLab's, from the same weights."""

import copy

import published
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from small_models import fill_norms
from torch import nn

from casvit_mm.deploy import fuse
from casvit_mm.models import CASViT
from casvit_mm.models.mixers import CASMixer, ChannelGate
from casvit_mm.speed.folded_norms import fold_frozen_norms

TINY = dict(depths=(1, 1, 2, 1), channels=(8, 8, 12, 16))
STRIDE_16 = dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
STRIDE_8 = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
# A dense stage in the middle, and every stage dense.
MIDDLE = dict(strides=(1, 2, 1, 2), dilations=(1, 1, 2, 2))
STRIDE_4 = dict(strides=(1, 1, 1, 1), dilations=(1, 2, 4, 8))
ALL = pytest.mark.parametrize('options', [STRIDE_16, STRIDE_8, MIDDLE, STRIDE_4], ids=str)


def as_trained(backbone):
    """Gives norms statistics as a training does, and channel gates one weight for every channel.

    A channel gate reads the mean over all positions, which differs between resolutions; with
    weights of zero each gate is 1/2.
    """
    fill_norms(backbone)
    for module in backbone.modules():
        if isinstance(module, ChannelGate):
            nn.init.zeros_(module.saliency[1].weight)
    return backbone


def pair(options, arch=TINY):
    """An ordinary backbone and one of other strides with the same weights, in float64."""
    torch.manual_seed(0)
    ordinary = as_trained(CASViT(arch)).double()
    dense = CASViT(arch, **options).double()
    dense.load_state_dict(ordinary.state_dict())
    return ordinary, dense


def steps(strides):
    """How many positions of a dense level lie between those of the ordinary one, by level."""
    found, step = [], 1
    for ordinary, stride in zip((1, 2, 2, 2), strides, strict=True):
        step *= ordinary // stride
        found.append(step)
    return found


def eager(backbone):
    return backbone.eval()


def folded(backbone):
    fold_frozen_norms(backbone)
    return backbone.train()


@ALL
@pytest.mark.parametrize('size', [(96, 128), (97, 131), (75, 33)], ids=str)
@pytest.mark.parametrize('form', [eager, folded, fuse])
def test_every_position_of_the_ordinary_network_is_in_the_dense_one(form, size, options):
    ordinary, dense = pair(options)
    image = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected, found = ordinary.eval()(image), form(dense)(image)
    for level, reference, step in zip(found, expected, steps(options['strides']), strict=True):
        torch.testing.assert_close(level[..., ::step, ::step], reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('options', [STRIDE_16, STRIDE_8], ids=str)
def test_a_patch_embedding_has_the_dilation_of_the_stage_before(options):
    backbone = CASViT(TINY, **options)
    dilations = [embedding.proj.dilation[0] for embedding in backbone.patch_embeds]
    assert dilations == list(options['dilations'][:3])


@pytest.mark.parametrize(
    ('options', 'strides'), [(STRIDE_16, (4, 8, 16, 16)), (STRIDE_8, (4, 8, 8, 8))], ids=str
)
@pytest.mark.parametrize('size', [(64, 96), (65, 99), (33, 34)], ids=str)
def test_levels_have_the_output_stride_for_any_size(size, options, strides):
    backbone = CASViT(TINY, **options, with_cp=True).train()
    levels = backbone(torch.rand(2, 3, *size))
    for level, stride, channels in zip(levels, strides, TINY['channels'], strict=True):
        assert level.shape == (2, channels, *(-(-side // stride) for side in size))
    sum(level.square().mean() for level in levels).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize('options', [STRIDE_16, STRIDE_8], ids=str)
def test_folded_norms_give_the_same_gradients(options):
    _, backbone = pair(options)
    twin = folded(copy.deepcopy(backbone))
    image = torch.randn(2, 3, 65, 96, dtype=torch.float64)
    for each in (backbone.train(), twin):
        sum(level.square().mean() for level in each(image)).backward()
    for (name, parameter), other in zip(
        backbone.named_parameters(), twin.parameters(), strict=True
    ):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-8, atol=1e-10, msg=name)


def test_published_weights_load():
    backbone = CASViT('xs', **STRIDE_8)
    backbone.load_state_dict(published.weights('xs', 'backbone'))
    ordinary = CASViT('xs')
    ordinary.load_state_dict(published.weights('xs', 'backbone'))
    for (name, found), expected in zip(
        backbone.state_dict().items(), ordinary.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name


def test_frozen_stages_are_the_same_ones():
    backbone = CASViT(TINY, frozen_stages=2, **STRIDE_8).train()
    trained = {name.split('.')[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {'stages', 'patch_embeds', 'out_norms'}
    assert not any(p.requires_grad for stage in backbone.stages[:2] for p in stage.parameters())
    assert all(p.requires_grad for p in backbone.stages[2].parameters())


@pytest.mark.parametrize('size', [(64, 96), (65, 99)], ids=str)
@pytest.mark.parametrize(
    ('options', 'head'),
    [
        (STRIDE_16, dict(type='ASPPHead', dilations=(1, 6, 12, 18))),
        (
            STRIDE_16,
            dict(
                type='DepthwiseSeparableASPPHead',
                dilations=(1, 6, 12, 18),
                c1_in_channels=8,
                c1_channels=4,
            ),
        ),
        (STRIDE_8, dict(type='ASPPHead', dilations=(1, 12, 24, 36))),
    ],
    ids=str,
)
def test_a_deeplab_head_trains_and_predicts(options, head, size):
    pytest.importorskip('mmseg')
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    init_default_scope('mmseg')
    norm = dict(type='BN')
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=size),
            backbone=dict(type='CASViT', arch=TINY, norm_eval=False, **options),
            decode_head=dict(
                **head,
                in_channels=16,
                in_index=3,
                channels=8,
                num_classes=5,
                norm_cfg=norm,
                align_corners=False,
            ),
            test_cfg=ConfigDict(mode='whole'),
        )
    )
    height, width = size
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, *size))),
            metainfo=dict(img_shape=size, ori_shape=(height + 3, width - 2), pad_shape=size),
        )
        for _ in range(2)
    ]
    images = [torch.randint(0, 255, (3, *size), dtype=torch.uint8) for _ in samples]
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.backbone.stages[3].parameters())
    with torch.no_grad():
        predicted = model.eval()(batch['inputs'], samples, mode='predict')
    for sample in predicted:
        assert sample.pred_sem_seg.data.shape == (1, height + 3, width - 2)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(strides=(2, 2, 2, 2)), 'strides=(2, 2, 2, 2): expected 4 numbers like (1, 2, 2, 2)'),
        (dict(strides=(1, 2, 2)), 'strides=(1, 2, 2): expected 4 numbers'),
        (dict(strides=(1, 2, 2, 4)), 'each 1 or 2'),
        (dict(strides=(1, 2, 2, 0)), 'each 1 or 2'),
        (dict(strides=16), 'strides=16: expected 4 numbers'),
        (dict(dilations=(1, 1, 1, 0)), 'dilations=(1, 1, 1, 0): expected 4 positive integers'),
        (dict(dilations=(1, 1, 2)), 'dilations=(1, 1, 2): expected 4'),
        (dict(dilations=(1, 1, 1, 1.5)), 'positive integers'),
        (dict(dilations=2), 'dilations=2: expected 4'),
        (dict(dilations='1112'), "dilations='1112': expected 4"),
    ],
)
def test_wrong_values_are_refused_with_the_right_ones(arguments, said):
    with pytest.raises(ValueError, match=r'.') as error:
        CASViT(TINY, **arguments)
    assert said in str(error.value)


class Average(nn.Module):
    """A token mixer of somebody's own, without dilation."""

    def __init__(self, channels, norm_cfg):
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, x):
        return self.pool(x)


class Dilated(CASMixer):
    """A token mixer of somebody's own that knows what to do with a dilation."""

    def __init__(self, channels, norm_cfg, dilation=1):
        super().__init__(channels, norm_cfg, dilation)
        self.dilation = dilation


def test_a_mixer_without_dilation_is_refused_if_a_stage_is_dilated():
    mixer = dict(type=Average)
    assert CASViT(TINY, mixer=mixer, strides=(1, 2, 2, 1))
    with pytest.raises(ValueError, match=r'.') as error:
        CASViT(TINY, mixer=mixer, **STRIDE_16)
    assert 'mixer=dict(type=\'Average\') takes no argument "dilation"' in str(error.value)
    assert 'dilations has 2 for a stage' in str(error.value)


def test_a_mixer_with_dilation_gets_that_of_its_stage_times_its_own():
    for own, expected in ((None, [1, 1, 2, 4]), (3, [3, 3, 6, 12])):
        mixer = dict(type=Dilated) if own is None else dict(type=Dilated, dilation=own)
        backbone = CASViT(TINY, mixer=mixer, **STRIDE_8)
        assert [stage[0].mixer.dilation for stage in backbone.stages] == expected
