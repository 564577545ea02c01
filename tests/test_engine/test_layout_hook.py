"""The layout in memory that a run trains in."""

import copy
import logging

import pytest
import torch
from mmcv.ops import RoIAlign
from torch import nn

from casvit_mm.engine.layout_hook import ChannelsLastHook
from casvit_mm.models import CASViT
from casvit_mm.models.memory_format import to_channels_last


class Runner:
    """What the hook touches of a runner."""

    def __init__(self, model):
        self.model = model
        self.logger = logging.getLogger('test')


class Detector(nn.Module):
    """A backbone and what a detector pools from it."""

    def __init__(self):
        super().__init__()
        self.backbone = CASViT('xs')
        self.pool = RoIAlign(7, 0.25, 0)

    def forward(self, image):
        rois = torch.tensor([[0, 4.0, 4.0, 40.0, 50.0], [1, 10.0, 0.0, 60.0, 30.0]])
        levels = self.backbone(image)
        return [*levels, self.pool(levels[0], rois)]


class Dense(Detector):
    """A detector that convolves what the backbone emits, and has none of mmcv's operators."""

    def __init__(self):
        super().__init__()
        del self.pool
        self.lateral = nn.Conv2d(48, 8, 3)

    def forward(self, image):
        levels = self.backbone(image)
        return [*levels, self.lateral(levels[0])]


def answers_and_gradients(detector, image):
    answers = detector(image)
    sum(answer.square().mean() for answer in answers).backward()
    return [answer.detach() for answer in answers], [p.grad for p in detector.parameters()]


@pytest.mark.parametrize('kind', [Detector, Dense])
def test_channels_last_changes_no_feature_no_pooled_feature_and_no_gradient(kind):
    torch.manual_seed(0)
    plain = kind().train()
    laid_out = copy.deepcopy(plain)
    to_channels_last(laid_out)
    convolution = laid_out.backbone.stages[0][0].mlp.fc1
    assert convolution.weight.stride(1) == 1
    assert plain.state_dict().keys() == laid_out.state_dict().keys()

    image = torch.rand(2, 3, 96, 64)
    expected, expected_gradients = answers_and_gradients(plain, image)
    answers, gradients = answers_and_gradients(laid_out, image)
    for answer, reference in zip(answers, expected, strict=True):
        assert (answer - reference).abs().max() <= 1e-5 * reference.abs().max()
    largest = max(gradient.abs().max() for gradient in expected_gradients)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert (gradient - reference).abs().max() <= 1e-4 * largest


@pytest.mark.parametrize(('torch_version', 'converts'), [('2.1.2', False), ('2.13.0', True)])
def test_a_torch_that_is_slower_channels_last_keeps_the_ordinary_layout(
    torch_version, converts, monkeypatch
):
    monkeypatch.setattr(torch, '__version__', torch_version)
    detector = Detector()
    ChannelsLastHook().before_train(Runner(detector))
    assert detector.backbone.stem[0].weight.is_contiguous() != converts
