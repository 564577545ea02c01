"""Compilation and lower precision of a whole model's dense parts."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.models.necks import FPN
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from casvit_mm.deploy import Acceleration, AccelerationHook, accelerate, acceleration, is_fused
from casvit_mm.models import CASViT
from casvit_mm.speed.dense_parts import at_precision, compiled, is_compiled
from casvit_mm.speed.matrix_products import works_in


@pytest.fixture(scope='module')
def detector(configs):
    cfg = Config.fromfile(configs / 'detection/retinanet_casvit-xs_demo_shapes.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.eval()


def image_shapes(count):
    """Sizes of images, the first one square."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.randint(320, 480, (count, 2), generator=generator).tolist()
    return [(320, 320), *map(tuple, sides[1:])]


def test_twenty_sizes_of_images_take_at_most_two_compilations():
    torch.manual_seed(0)
    torch._dynamo.reset()
    backbone = CASViT('xs').eval()
    model = nn.Module()
    model.backbone = copy.deepcopy(backbone)
    accelerate(model, Acceleration(fuse=True))
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    forward = compiled(model.backbone.forward, constant_weights=True, backend=count)
    for height, width in image_shapes(20):
        image = torch.randn(1, 3, height, width)
        with torch.no_grad():
            for level, reference in zip(forward(image), backbone(image), strict=True):
                assert (level - reference).abs().max() <= 1e-5 * reference.abs().max()
    assert 1 <= len(graphs) <= 2


@pytest.mark.skipif(torch.__version__ < '2.4', reason='torch before 2.4 compiles for minutes')
@pytest.mark.parametrize('compile', [True, 'static'])
def test_a_compiled_model_answers_as_the_plain_one_for_images_of_several_sizes(compile):
    torch.manual_seed(0)
    torch._dynamo.reset()
    backbone = CASViT(dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))).eval()
    model = nn.Module()
    model.backbone = copy.deepcopy(backbone)
    accelerate(model, Acceleration(fuse=True, compile=compile))
    # Each more size takes a static model as long as the first one.
    for height, width in ((320, 320), (352, 416))[: 1 if compile == 'static' else None]:
        image = torch.randn(1, 3, height, width)
        with torch.no_grad():
            for level, reference in zip(model.backbone(image), backbone(image), strict=True):
                assert (level - reference).abs().max() <= 1e-5 * reference.abs().max()


class Converted(nn.Module):
    """A layer whose weights are computed from others, as a cast to another precision does."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 4))

    def forward(self, x):
        return x @ self.weight.exp()


@pytest.mark.skipif(torch.__version__ < '2.4', reason='torch before 2.4 compiles for minutes')
@pytest.mark.parametrize('constant', [True, False])
def test_weights_are_taken_as_they_are_at_the_first_call_where_that_is_asked_for(constant):
    torch.manual_seed(0)
    torch._dynamo.reset()
    layer = Converted().eval()
    forward = compiled(layer.forward, constant_weights=constant)
    image = torch.rand(8, 4)
    with torch.no_grad():
        first = forward(image)
        layer.weight.add_(1)
        assert torch.equal(forward(image), first) == constant


def test_bf16_is_close_and_comes_back_as_float32(detector):
    image = torch.rand(1, 3, 96, 128)
    half = accelerate(copy.deepcopy(detector), Acceleration(fuse=True, precision='bf16'))
    assert is_fused(half) and not is_fused(detector)
    with torch.no_grad():
        for answers, references in zip(
            half(image, mode='tensor'), detector(image, mode='tensor'), strict=True
        ):
            for answer, reference in zip(answers, references, strict=True):
                assert answer.dtype == torch.float32
                difference = (answer - reference).abs().max()
                assert 0 < difference <= 0.05 * reference.abs().max()


def test_a_precision_reaches_what_is_computed():
    seen = []

    def function(pair):
        seen.append((pair[0] @ pair[1]).dtype)
        return [pair[0] @ pair[1], torch.tensor([1])]

    product, count = at_precision(function, torch.bfloat16)((torch.eye(2), torch.eye(2)))
    assert seen == [torch.bfloat16]
    assert product.dtype == torch.float32 and count.dtype == torch.int64


def test_each_size_is_compiled_anew_where_that_is_asked_for(monkeypatch):
    torch._dynamo.reset()
    backbone = CASViT(dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))).eval()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(acceleration, 'compiled', partial(compiled, backend=count))
    model = nn.Module()
    model.backbone = copy.deepcopy(backbone)
    accelerate(model, Acceleration(fuse=True, compile='static'))
    for number, height in ((1, 320), (1, 320), (2, 352), (3, 384)):
        image = torch.randn(1, 3, height, 320)
        with torch.no_grad():
            for level, reference in zip(model.backbone(image), backbone(image), strict=True):
                assert (level - reference).abs().max() <= 1e-5 * reference.abs().max()
        assert len(graphs) == number


@pytest.mark.parametrize('compile', ['dynamic', None, 2])
def test_an_unknown_way_to_compile_is_named(compile):
    with pytest.raises(ValueError, match=r"known: False, True, 'static'"):
        Acceleration(compile=compile)


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match=r'fp8.*fp32, bf16, fp16'):
        Acceleration(precision='fp8')


def test_a_hook_refuses_to_fuse_what_a_moving_average_would_swap(detector):
    runner = SimpleNamespace(model=copy.deepcopy(detector), hooks=[EMAHook()])
    with pytest.raises(ValueError, match='EMAHook out of custom_hooks'):
        AccelerationHook(fuse=True).before_test(runner)
    runner.hooks = []
    AccelerationHook(fuse=True).before_test(runner)
    assert is_fused(runner.model)


@pytest.fixture
def compilations(monkeypatch):
    """Functions that torch.compile was given; it leaves them as they are."""
    given = []

    def compile_nothing(function, **_):
        given.append(function)
        return function

    monkeypatch.setattr(torch, 'compile', compile_nothing)
    return given


class Tiny(nn.Module):
    """A backbone and a neck, small enough to be changed many times."""

    def __init__(self):
        super().__init__()
        self.backbone = CASViT(dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32)))
        self.neck = FPN([8, 16, 24, 32], 8, 4, norm_cfg=dict(type='BN'))

    def forward(self, image):
        return self.neck(self.backbone(image))


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return Tiny().eval()


def wrappers(function):
    """How many functions stand around a forward pass of a module."""
    count = 0
    while hasattr(function, '__wrapped__'):
        function, count = function.__wrapped__, count + 1
    return count


def answers(model):
    with torch.no_grad():
        return model(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


def close(left, right):
    pairs = zip(left, right, strict=True)
    return all((a - b).abs().max() <= 1e-5 * b.abs().max() for a, b in pairs)


ALL = dict(fuse=True, compile=True, precision='bf16')


@pytest.mark.parametrize('left_out', ['fuse', 'compile', 'precision'])
def test_what_has_been_done_to_a_model_is_not_done_again(left_out, tiny, compilations):
    acceleration = Acceleration(**{key: value for key, value in ALL.items() if key != left_out})
    accelerate(tiny, acceleration)
    parts = tiny.backbone, tiny.neck
    before = len(compilations), [wrappers(part.forward) for part in parts]
    # Not every CPU convolves in bf16 after fusion.
    once = None if left_out == 'compile' else answers(tiny)
    for _ in range(3):
        accelerate(tiny, acceleration)
        assert once is None or all(map(torch.equal, answers(tiny), once))
    assert (len(compilations), [wrappers(part.forward) for part in parts]) == before


@pytest.mark.skipif(not works_in('cpu', torch.float16), reason='this torch has no float16 on a CPU')
def test_another_precision_replaces_the_first(tiny):
    plain = answers(tiny)
    half = answers(accelerate(tiny, Acceleration(precision='bf16')))
    assert not all(map(torch.equal, half, plain))
    sixteen = Tiny().eval()
    sixteen.load_state_dict(tiny.state_dict())
    expected = answers(accelerate(sixteen, Acceleration(precision='fp16')))
    assert all(
        map(torch.equal, answers(accelerate(tiny, Acceleration(precision='fp16'))), expected)
    )
    assert wrappers(tiny.backbone.forward) == 1
    assert all(map(torch.equal, answers(accelerate(tiny, Acceleration())), plain))
    assert wrappers(tiny.backbone.forward) == 0


@pytest.mark.parametrize(
    'steps',
    [
        ('fuse', 'compile'),
        ('compile', 'fuse'),
        ('compile', 'precision', 'fuse'),
        ('precision', 'compile', 'fuse', 'compile'),
    ],
    ids='-'.join,
)
def test_steps_one_by_one_give_what_they_give_together(steps, tiny, compilations):
    plain = answers(tiny)
    for step in steps:
        accelerate(tiny, Acceleration(**{step: ALL[step]}))
    assert is_fused(tiny)
    assert [is_compiled(part.forward) for part in (tiny.backbone, tiny.neck)] == [True, True]
    assert close(answers(tiny), plain)
    # Nothing that was compiled has weights of before the fusion.
    fused_last = [f.__self__ for f in compilations[-2:]]
    assert fused_last == [tiny.backbone, tiny.neck]


def test_what_is_neither_compiled_nor_lowered_keeps_the_forward_of_its_class(tiny):
    accelerate(tiny, Acceleration(fuse=True))
    accelerate(tiny, Acceleration())
    assert not [name for name, part in tiny.named_modules() if 'forward' in vars(part)]


def test_operators_of_mmcv_are_given_the_ordinary_layout_once(detector):
    model = copy.deepcopy(detector)
    model.roi = RoIAlign(7)
    for _ in range(2):
        accelerate(model, Acceleration(fuse=True))
    assert len(model.roi._forward_pre_hooks) == 1


def test_a_hook_of_a_runner_that_tests_twice_changes_its_model_once(tiny, compilations):
    runner = SimpleNamespace(model=tiny, hooks=[])
    hook = AccelerationHook(**ALL)
    for _ in range(2):
        hook.before_test(runner)
    assert len(compilations) == 2
    assert wrappers(tiny.backbone.forward) == 2
