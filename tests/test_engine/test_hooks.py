"""Hooks of a run."""

import copy

import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from torch import nn

from casvit_mm.datasets import shapes
from casvit_mm.engine.hooks import ChannelsLastHook


class Runner:
    """What the hook touches of a runner."""

    def __init__(self, model):
        self.model = model


@pytest.fixture(scope='module')
def detector_and_batch(configs, tmp_path_factory):
    registry = pytest.importorskip('mmdet.registry')
    from mmengine.dataset import pseudo_collate

    root = tmp_path_factory.mktemp('shapes')
    shapes.generate(root, num_train=4, num_val=1, progress=False)
    cfg = Config.fromfile(configs / 'detection' / 'mask_rcnn_casvit-xs_demo_shapes.py')
    init_default_scope('mmdet')
    cfg.train_dataloader.dataset.data_root = str(root)
    dataset = registry.DATASETS.build(cfg.train_dataloader.dataset)
    torch.manual_seed(0)
    return registry.MODELS.build(cfg.model).eval(), pseudo_collate([dataset[i] for i in range(4)])


def losses_and_gradients(detector, batch):
    torch.manual_seed(0)
    data = detector.data_preprocessor(copy.deepcopy(batch), training=False)
    losses = detector(**data, mode='loss')
    total, _ = detector.parse_losses(losses)
    total.backward()
    return total.detach(), {name: p.grad for name, p in detector.named_parameters()}


def test_channels_last_changes_no_loss_and_no_gradient_of_a_whole_detector(detector_and_batch):
    plain, batch = detector_and_batch
    laid_out = copy.deepcopy(plain)
    ChannelsLastHook().before_run(Runner(laid_out))
    convolution = next(m for m in laid_out.backbone.modules() if isinstance(m, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert plain.state_dict().keys() == laid_out.state_dict().keys()

    loss, gradients = losses_and_gradients(plain, batch)
    other_loss, other_gradients = losses_and_gradients(laid_out, batch)
    torch.testing.assert_close(other_loss, loss, rtol=1e-5, atol=0)
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        error = (other_gradients[name] - gradient).abs().max()
        assert error <= 1e-4 * gradient.abs().max() + 1e-6 * largest, name
