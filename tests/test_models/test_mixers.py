"""Token mixers, each against its formula written out position by position."""

import subprocess
import sys
from math import sqrt

import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_models import fill_norms
from torch import nn

from casvit_mm.deploy import fuse
from casvit_mm.deploy.export.program import Network, exported_program
from casvit_mm.models import TOKEN_MIXERS, CASViT
from casvit_mm.speed.folded_norms import fold_frozen_norms

TINY = dict(depths=(1, 1, 2, 1), channels=(8, 8, 16, 16))
BATCH_NORM = dict(type='BN')
NAMES = (
    'SelfAttentionMixer',
    'SeparableMixer',
    'EfficientAdditiveMixer',
    'PoolingMixer',
    'IdentityMixer',
    'CASMixer',
)


def build(name, channels=12, **options):
    torch.manual_seed(0)
    mixer = TOKEN_MIXERS.get(name)(channels=channels, norm_cfg=BATCH_NORM, **options)
    # Gates and norms that do something.
    for module in mixer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return mixer.double().eval()


def linear(layer, x):
    """A linear layer or a 1x1 convolution at one position."""
    answer = layer.weight.flatten(1) @ x
    return answer if layer.bias is None else answer + layer.bias


def unit(x):
    return x / x.square().sum().sqrt()


def positions(image):
    """The features of each position of an image, row by row."""
    return [image[:, i, j] for i in range(image.shape[1]) for j in range(image.shape[2])]


def self_attention(mixer, image):
    tokens = [linear(mixer.qkv, x).chunk(3) for x in positions(image)]
    width = image.shape[0] // mixer.num_heads
    answers = []
    for query, _, _ in tokens:
        heads = []
        for head in range(mixer.num_heads):
            part = slice(head * width, (head + 1) * width)
            similar = torch.stack([query[part] @ key[part] / sqrt(width) for _, key, _ in tokens])
            shares = similar.exp() / similar.exp().sum()
            pairs = zip(shares, tokens, strict=True)
            heads.append(sum(share * value[part] for share, (_, _, value) in pairs))
        answers.append(linear(mixer.proj, torch.cat(heads)))
    return answers


def separable(mixer, image):
    width = image.shape[0]
    tokens = [
        (each[0], each[1 : 1 + width], each[1 + width :])
        for each in (linear(mixer.score_key_value, x) for x in positions(image))
    ]
    total = sum(score.exp() for score, _, _ in tokens)
    context = sum(score.exp() / total * key for score, key, _ in tokens)
    return [linear(mixer.proj, value.clamp(min=0) * context) for _, _, value in tokens]


def efficient_additive(mixer, image):
    width = image.shape[0]
    tokens = [linear(mixer.query_key, x) for x in positions(image)]
    queries, keys = (
        [unit(each[part]) for each in tokens] for part in (slice(width), slice(width, None))
    )
    alpha = unit(torch.stack([query @ mixer.weight / sqrt(width) for query in queries]))
    common = sum(share * query for share, query in zip(alpha, queries, strict=True))
    return [
        linear(mixer.out, linear(mixer.mix, common * key) + query)
        for query, key in zip(queries, keys, strict=True)
    ]


def pooling(mixer, image):
    _, height, width = image.shape
    answers = []
    for i in range(height):
        for j in range(width):
            rows, columns = slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2)
            answers.append(image[:, rows, columns].mean((1, 2)) - image[:, i, j])
    return answers


def identity(mixer, image):
    return positions(image)


def depthwise_at(conv, image, i, j):
    """A depthwise 3x3 convolution at one position."""
    total = conv.bias.clone()
    for row in range(3):
        for column in range(3):
            y, x = i + row - 1, j + column - 1
            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                total = total + conv.weight[:, 0, row, column] * image[:, y, x]
    return total


def depthwise_of(conv, image):
    _, height, width = image.shape
    rows = [[depthwise_at(conv, image, i, j) for j in range(width)] for i in range(height)]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def gated(gate, image):
    conv, norm, _, single = gate[0].saliency
    near = depthwise_of(conv, image)
    mean, scale = norm.running_mean, norm.weight / (norm.running_var + norm.eps).sqrt()
    near = (near - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    salient = torch.einsum('oc,chw->ohw', single.weight[:, :, 0, 0], near.clamp(min=0))
    image = image / (1 + (-salient).exp())
    channel = gate[1].saliency[1].weight[:, :, 0, 0] @ image.mean((1, 2))
    return image / (1 + (-channel).exp())[:, None, None]


def convolutional_additive(mixer, image):
    q, k, v = torch.einsum('oc,chw->ohw', mixer.qkv.weight[:, :, 0, 0], image).chunk(3)
    context = depthwise_of(mixer.context, gated(mixer.q_gate, q) + gated(mixer.k_gate, k))
    return positions(depthwise_of(mixer.proj, context * v))


FORMULAS = dict(
    zip(
        NAMES,
        (self_attention, separable, efficient_additive, pooling, identity, convolutional_additive),
        strict=True,
    )
)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize('name', NAMES)
def test_a_mixer_and_its_gradients_are_those_of_its_formula(name, layout):
    mixer = build(name)
    image = torch.randn(2, 12, 5, 3, dtype=torch.float64, requires_grad=True)
    found = mixer(image.contiguous(memory_format=layout))
    assert found.shape == image.shape
    answers = [torch.stack(FORMULAS[name](mixer, each), 1) for each in image]
    expected = torch.stack(answers).reshape(image.shape)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    wanted = [image, *mixer.parameters()]
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((each * weights).sum(), wanted) for each in (found, expected)]
    for name_of, one, other in zip(
        ['input', *dict(mixer.named_parameters())], *gradients, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10, msg=name_of)


@pytest.mark.parametrize(('channels', 'heads'), [(48, 2), (56, 2), (112, 4), (220, 10), (64, 2)])
def test_attention_has_heads_of_about_32_channels(channels, heads):
    mixer = build('SelfAttentionMixer', channels)
    assert mixer.num_heads == heads
    assert mixer(torch.randn(1, channels, 2, 2, dtype=torch.float64)).shape[1] == channels


@pytest.mark.parametrize(
    ('name', 'options', 'said'),
    [
        ('SelfAttentionMixer', dict(num_heads=5), 'does not divide the 12 channels'),
        ('PoolingMixer', dict(pool_size=2), 'pool_size=2: expected an odd number'),
    ],
)
def test_wrong_options_are_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        build(name, **options)


@pytest.mark.parametrize(
    ('mixer', 'said'),
    [
        ([dict(type='CASMixer')] * 3, 'a list of 4 of them'),
        (['CASMixer'] * 4, 'a list of 4 of them'),
        ('CASMixer', 'expected dict'),
        ([dict(type='CASMixer'), *[dict(type='Attention')] * 3], "type='Attention'"),
    ],
)
def test_a_list_of_mixers_has_one_config_for_each_stage(mixer, said):
    with pytest.raises(ValueError, match=said):
        CASViT(TINY, mixer=mixer)


def backbone_of(*names):
    """A small backbone with these mixers, one for each stage, and norms as of training."""
    torch.manual_seed(0)
    backbone = CASViT(TINY, mixer=[dict(type=name) for name in names])
    fill_norms(backbone, spread=0.1)
    return backbone.eval()


def test_each_stage_gets_its_mixer_from_one_config():
    backbone = backbone_of(*NAMES[:4])
    found = [{type(block.mixer).__name__ for block in stage} for stage in backbone.stages]
    assert found == [{name} for name in NAMES[:4]]
    # The same from a config file, where lists are mmengine's.
    cfg = Config(dict(mixer=[dict(type=name) for name in NAMES[:4]]))
    again = CASViT(TINY, mixer=cfg.mixer)
    assert again.state_dict().keys() == backbone.state_dict().keys()


def test_mixers_that_look_everywhere_do_not_mind_dilation():
    for name in ('SelfAttentionMixer', 'SeparableMixer', 'EfficientAdditiveMixer', 'IdentityMixer'):
        CASViT(TINY, mixer=dict(type=name), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    with pytest.raises(ValueError, match='PoolingMixer'):
        CASViT(TINY, mixer=dict(type='PoolingMixer'), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))


@pytest.mark.parametrize('names', [NAMES[:4], ('IdentityMixer', 'CASMixer', *NAMES[:2])])
def test_a_backbone_answers_the_same_when_it_is_fused_or_its_norms_are_folded(names):
    backbone = backbone_of(*names)
    fused = fuse(backbone)
    image = torch.randn(2, 3, 70, 50)
    with torch.no_grad():
        expected = backbone(image)
        for level, reference in zip(fused(image), expected, strict=True):
            torch.testing.assert_close(level, reference, rtol=1e-4, atol=1e-5)
        fold_frozen_norms(backbone)
        for level, reference in zip(backbone(image), expected, strict=True):
            torch.testing.assert_close(level, reference, rtol=1e-4, atol=1e-5)
    for name, stage in zip(names, fused.stages, strict=True):
        norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
        # Nothing can take up the norm before a mixer that reads more than one position, or none.
        left = len(stage) if name in ('PoolingMixer', 'IdentityMixer') else 0
        assert len(norms) == left


def test_what_inherits_from_a_mixer_is_not_fused_like_it():
    class Doubled(TOKEN_MIXERS.get('SeparableMixer')):
        def forward(self, x):
            return super().forward(2 * x)

    backbone = CASViT(TINY, mixer=dict(type=Doubled)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for level, reference in zip(fuse(backbone)(image), backbone(image), strict=True):
            torch.testing.assert_close(level, reference, rtol=1e-4, atol=1e-5)


def test_an_exported_backbone_with_every_mixer_takes_other_sizes(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    backbone = fuse(backbone_of(*NAMES[:4]))
    outputs = tuple(f'level{index}' for index in range(4))
    program = exported_program(Network(backbone, torch.randn(2, 3, 64, 96), True, True, outputs))
    file = str(tmp_path / 'mixers.onnx')
    torch.onnx.export(program, (), dynamo=True, opset_version=18, verbose=False).save(file)
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    for shape in ((2, 3, 64, 96), (1, 3, 128, 64), (3, 3, 96, 160)):
        image = torch.randn(shape)
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.no_grad():
            expected = backbone(image)
        for level, reference in zip(found, expected, strict=True):
            limit = 1e-5 * float(reference.abs().max())
            assert np.abs(level - reference.numpy()).max() <= limit


# Prints by how many bytes the process has grown for a step with N positions.
GROWS = """
import resource, sys, torch
from casvit_mm.models import TOKEN_MIXERS
torch.set_num_threads(1)
mixer = TOKEN_MIXERS.get('SelfAttentionMixer')(channels=32, num_heads=4)
def step(side):
    mixer(torch.randn(1, 32, side, side)).sum().backward()
step(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(int(sys.argv[1]))
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='other units of memory')
def test_attention_in_training_never_has_all_pairs_in_memory():
    side = 80
    done = subprocess.run(
        [sys.executable, '-c', GROWS, str(side)], capture_output=True, text=True, check=True
    )
    all_pairs = 4 * 4 * side**4
    assert int(done.stdout) < all_pairs / 4
