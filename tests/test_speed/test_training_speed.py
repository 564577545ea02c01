"""The options that make a training run faster."""

import copy
import logging
import subprocess
import sys
from functools import partial

import pytest
import torch
from mmcv.ops import RoIAlign
from mmengine.utils import digit_version
from torch import nn
from torch.profiler import profile

from casvit_mm.engine.hooks.training_speed import TrainingSpeedHook
from casvit_mm.engine.optim.bfloat16 import BFloat16OptimWrapper
from casvit_mm.models import CASViT, TimmPyramid
from casvit_mm.models.mixers import depthwise
from casvit_mm.speed.dense_parts import compiled
from casvit_mm.speed.memory_format import overrun, to_channels_last
from casvit_mm.speed.training import (
    FAST_CHANNELS_LAST,
    TrainingSpeed,
    compiler_options,
    faster_optimizer,
)


class Runner:
    """The parts of a runner that the hook uses."""

    def __init__(self, model):
        self.model = model
        self.logger = logging.getLogger('test')


class Detector(nn.Module):
    """A backbone and the RoI pooling of a detector."""

    def __init__(self):
        super().__init__()
        self.backbone = CASViT('xs')
        self.pool = RoIAlign(7, 0.25, 0)

    def forward(self, image):
        rois = torch.tensor([[0, 4.0, 4.0, 40.0, 50.0], [1, 10.0, 0.0, 60.0, 30.0]])
        levels = self.backbone(image)
        return [*levels, self.pool(levels[0], rois)]


class Dense(Detector):
    """A detector with a convolution after the backbone, and without mmcv's operators."""

    def __init__(self):
        super().__init__()
        del self.pool
        self.lateral = nn.Conv2d(48, 8, 3)

    def forward(self, image):
        levels = self.backbone(image)
        return [*levels, self.lateral(levels[0])]


def outputs_and_gradients(detector, image):
    outputs = detector(image)
    sum(output.square().mean() for output in outputs).backward()
    return [output.detach() for output in outputs], [p.grad for p in detector.parameters()]


@pytest.mark.parametrize('kind', [Detector, Dense])
def test_channels_last_changes_neither_features_nor_gradients(kind):
    torch.manual_seed(0)
    plain = kind().train()
    laid_out = copy.deepcopy(plain)
    to_channels_last(laid_out)
    convolution = laid_out.backbone.stages[0][0].mlp.fc1
    assert convolution.weight.stride(1) == 1
    assert plain.state_dict().keys() == laid_out.state_dict().keys()

    image = torch.rand(2, 3, 96, 64)
    expected, expected_gradients = outputs_and_gradients(plain, image)
    outputs, gradients = outputs_and_gradients(laid_out, image)
    for output, reference in zip(outputs, expected, strict=True):
        assert (output - reference).abs().max() <= 1e-5 * reference.abs().max()
    largest = max(gradient.abs().max() for gradient in expected_gradients)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert (gradient - reference).abs().max() <= 1e-4 * largest


@pytest.mark.parametrize(('torch_version', 'converts'), [('2.1.2', False), ('2.13.0', True)])
def test_a_torch_that_is_slower_in_channels_last_keeps_the_ordinary_layout(
    torch_version, converts, monkeypatch
):
    monkeypatch.setattr(torch, '__version__', torch_version)
    detector = Detector()
    TrainingSpeedHook(TrainingSpeed(channels_last=True)).before_train(Runner(detector))
    assert detector.backbone.stem[0].weight.is_contiguous() != converts


@pytest.mark.parametrize(
    ('options', 'breaks'),
    [
        (dict(stride=2), True),
        (dict(stride=(1, 3)), True),
        (dict(stride=2, padding=1), True),
        (dict(stride=1), False),
        (dict(stride=2, groups=3), False),
    ],
    ids=str,
)
def test_convolutions_at_which_onednn_overruns_its_memory_are_found(options, breaks):
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.Conv2d(3, 24, 1, **options))
    assert overrun(model) == ('1' if breaks else '')
    assert overrun(nn.Conv2d(16, 24, 1, stride=2)) == ''


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU computes it without oneDNN')
def test_a_model_that_would_damage_memory_keeps_the_ordinary_layout(monkeypatch, caplog):
    monkeypatch.setattr(torch, '__version__', '2.13.0')
    detector = Detector()
    detector.backbone = TimmPyramid('fastvit_t8')
    with caplog.at_level('INFO'):
        TrainingSpeedHook(TrainingSpeed(channels_last=True)).before_train(Runner(detector))
    assert 'oneDNN writes past its memory there: backbone.network.stem_0.' in caplog.text
    kernels = [each for each in detector.backbone.parameters() if each.dim() == 4]
    assert all(each.is_contiguous() for each in kernels)


COMPILED = """
import torch
from torch import nn
from casvit_mm.speed.training import compiler_options
model = nn.Sequential(nn.Conv2d(3, 64, 1, stride=2), nn.ReLU())
call = torch.compile(model, **compiler_options(model))
call(torch.rand(2, 3, 256, 256)).square().sum().backward()
# The damage shows when memory is used again.
torch.rand(2, 3, 256, 256).contiguous(memory_format=torch.channels_last)
print(torch.isfinite(model[0].weight.grad).all().item())
"""


def test_a_compiled_backward_pass_damages_no_memory_either():
    ended = subprocess.run([sys.executable, '-c', COMPILED], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, 'True'), ended.stderr


class Model(nn.Module):
    """A backbone with statistics as after training, and a head."""

    def __init__(self, **options):
        super().__init__()
        arch = dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))
        self.backbone = CASViT(arch, **options)
        self.neck = nn.Conv2d(32, 4, 1)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 2)

    def forward(self, image):
        return self.neck(self.backbone(image)[-1])


def gradients(model, image):
    model.zero_grad()
    model.train()
    output = model(image)
    output.square().mean().backward()
    return output.detach(), [p.grad for p in model.parameters() if p.grad is not None]


OPTIONS = [
    dict(channels_last=True),
    dict(fold_norms=True),
    dict(channels_last=True, fold_norms=True),
    dict(channels_last=True, fold_norms=True, compile=True),
]


@pytest.mark.parametrize('options', OPTIONS, ids=lambda each: '+'.join(each))
def test_each_option_keeps_outputs_gradients_and_names(options, monkeypatch):
    # Traced, but run with torch's own kernels: generating and building others takes minutes.
    monkeypatch.setattr('casvit_mm.speed.training.compiled', partial(compiled, backend='eager'))
    torch.manual_seed(0)
    model = Model()
    plain = copy.deepcopy(model)
    TrainingSpeedHook(TrainingSpeed(**options)).before_train(Runner(model))
    assert model.state_dict().keys() == plain.state_dict().keys()
    image = torch.rand(2, 3, 64, 96)
    expected, expected_gradients = gradients(plain, image)
    output, found = gradients(model, image)
    assert (output - expected).abs().max() <= 1e-5 * expected.abs().max()
    largest = max(gradient.abs().max() for gradient in expected_gradients)
    for gradient, reference in zip(found, expected_gradients, strict=True):
        assert (gradient - reference).abs().max() <= 1e-4 * largest


def test_activation_checkpointing_works_with_folded_norms():
    torch.manual_seed(0)
    model = Model()
    plain = copy.deepcopy(model)
    model.backbone.with_cp = True
    TrainingSpeedHook(TrainingSpeed(fold_norms=True)).before_train(Runner(model))
    image = torch.rand(1, 3, 64, 64)
    for found, expected in zip(gradients(model, image)[1], gradients(plain, image)[1], strict=True):
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max() + 1e-3))


def test_trained_norms_are_not_folded_and_the_log_says_so(caplog):
    model = Model(norm_eval=False)
    with caplog.at_level('INFO'):
        TrainingSpeedHook(TrainingSpeed(fold_norms=True)).before_train(Runner(model))
    assert 'nothing to fold' in caplog.text
    assert 'forward' not in vars(model.backbone.stem)


@pytest.mark.parametrize('possible', [True, False])
def test_if_memory_cannot_be_kept_the_log_says_so(possible, monkeypatch, caplog):
    monkeypatch.setattr('casvit_mm.speed.training.keep_freed_memory', lambda: possible)
    with caplog.at_level('INFO'):
        TrainingSpeedHook(TrainingSpeed(keep_memory=True)).before_train(Runner(Model()))
    assert ('speed.keep_memory: only' in caplog.text) != possible


def test_only_training_is_compiled(monkeypatch):
    model = Model()
    calls = []
    monkeypatch.setattr(
        'casvit_mm.speed.training.compiled',
        lambda function, **_: lambda image: calls.append(image) or function(image),
    )
    TrainingSpeedHook(TrainingSpeed(compile=True)).before_train(Runner(model))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        model(image)
    assert not calls
    model(image)
    assert len(calls) == 1


@pytest.mark.skipif(
    torch.cuda.is_available() or digit_version(torch.__version__) < FAST_CHANNELS_LAST,
    reason='needs a CPU, and a torch that trains in NHWC on it',
)
def test_a_compiled_backward_pass_copies_no_input_of_a_depthwise_convolution():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 8, 1), nn.GELU(), depthwise(8), nn.GELU())
    layers.to(memory_format=torch.channels_last)
    image = torch.rand(1, 4, 24, 40).contiguous(memory_format=torch.channels_last)
    gradient = torch.ones(1, 8, 24, 40).contiguous(memory_format=torch.channels_last)
    layers(image).backward(gradient)
    expected = [parameter.grad for parameter in layers.parameters()]
    call = compiled(layers.forward, **compiler_options(layers))
    for _ in range(2):
        layers.zero_grad(set_to_none=True)
        with profile() as profiled:
            call(image).backward(gradient)
    names = {event.name for event in profiled.events()}
    assert 'aten::convolution_backward' in names
    assert 'aten::clone' not in names
    for parameter, reference in zip(layers.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, reference, rtol=1e-4, atol=1e-5)


def test_only_the_dense_parts_compute_in_bfloat16():
    torch.manual_seed(0)
    model = Model()
    seen = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: seen.setdefault(name, output)
        )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = BFloat16OptimWrapper(optimizer=optimizer)
    before = model.backbone.stem[0].weight.clone()
    with wrapper.optim_context(model):
        output = model(torch.rand(2, 3, 64, 64))
    assert seen['backbone.stem.0'].dtype == torch.bfloat16
    assert seen['neck'].dtype == output.dtype == torch.float32
    wrapper.update_params(output.square().mean())
    weight = model.backbone.stem[0].weight
    assert weight.dtype == torch.float32 and not torch.equal(weight, before)
    seen.clear()
    model(torch.rand(2, 3, 64, 64))
    assert seen['backbone.stem.0'].dtype == torch.float32


def test_a_failed_step_restores_the_precision_of_the_model():
    model = Model()
    wrapper = BFloat16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(RuntimeError), wrapper.optim_context(model):
        model(torch.rand(1, 5, 64, 64))
    assert model.backbone(torch.rand(1, 3, 64, 64))[0].dtype == torch.float32
    stem = []
    model.backbone.stem.register_forward_hook(lambda *call: stem.append(call[2].dtype))
    model(torch.rand(1, 3, 64, 64))
    assert stem == [torch.float32]


WRAPPER = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))


def on(monkeypatch, device, bf16=False, torch_version='2.13.0'):
    module = 'casvit_mm.speed.training'
    monkeypatch.setattr(f'{module}.get_device', lambda: device)
    monkeypatch.setattr(f'{module}.gains_from', lambda *asked: bf16)
    monkeypatch.setattr(torch, '__version__', torch_version)


@pytest.mark.parametrize(
    ('device', 'bf16', 'precision', 'expected'),
    [
        ('cpu', False, 'auto', 'OptimWrapper'),
        ('cpu', True, 'auto', 'BFloat16OptimWrapper'),
        ('cuda', True, 'auto', 'BFloat16OptimWrapper'),
        ('cuda', False, 'auto', 'OptimWrapper'),
        ('cpu', False, 'bf16', 'BFloat16OptimWrapper'),
        ('cuda', True, 'fp16', 'AmpOptimWrapper'),
        ('mps', False, 'auto', 'OptimWrapper'),
    ],
)
def test_the_precision_fits_the_device(device, bf16, precision, expected, monkeypatch):
    on(monkeypatch, device, bf16)
    options = faster_optimizer(WRAPPER, TrainingSpeed.of(dict(precision=precision)))
    assert options['type'] == expected
    assert WRAPPER['type'] == 'OptimWrapper'


def test_float16_on_a_cpu_is_rejected_in_a_sentence(monkeypatch):
    on(monkeypatch, 'cpu')
    with pytest.raises(ValueError, match='needs a GPU'):
        TrainingSpeed.of(dict(precision='fp16'))


@pytest.mark.parametrize(
    ('kind', 'torch_version', 'fused'),
    [('AdamW', '2.13.0', True), ('AdamW', '2.1.2', None), ('RMSprop', '2.13.0', None)],
)
def test_an_optimiser_is_fused_if_torch_supports_it(kind, torch_version, fused, monkeypatch):
    on(monkeypatch, 'cpu', torch_version=torch_version)
    options = faster_optimizer(
        dict(optimizer=dict(type=kind, lr=1e-3)), TrainingSpeed(fused_optimizer=True)
    )
    assert options['optimizer'].get('fused') is fused
    assert options['constructor'] == 'GroupedOptimWrapperConstructor'


def test_an_optimiser_keeps_the_options_of_its_config(monkeypatch):
    on(monkeypatch, 'cpu')
    options = dict(
        constructor='CASViTLayerDecayConstructor', optimizer=dict(type='AdamW', lr=1, fused=False)
    )
    found = faster_optimizer(options, TrainingSpeed(fused_optimizer=True))
    assert found == options


@pytest.mark.parametrize(
    ('speed', 'words'),
    [
        (dict(compiled=True), r'unknown keys: compiled; known: .*compile'),
        (dict(precision='fp8'), 'fp8.*auto'),
    ],
)
def test_unknown_keys_and_values_of_speed_are_named(speed, words):
    with pytest.raises(ValueError, match=words):
        TrainingSpeed.of(speed)
