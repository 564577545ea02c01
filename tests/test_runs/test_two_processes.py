"""What two processes compute together is what one computes alone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DATASETS, DefaultScope
from small_models import DEMOS, build
from torch import distributed
from two_processes import in_two_processes

from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.engine.exact.randomness import seed_step, seeded_sample

CONFIGS = Path(__file__).parents[2] / 'configs'
IMAGES = 4


def model_and_samples(kind):
    """A model of a demo with frozen norms and without dropout, and its first images."""
    cfg = Config.fromfile(CONFIGS / DEMOS[kind])
    load_toolbox(cfg)
    cfg.model.backbone.norm_eval = True
    if kind == 'semantic':
        # Weights of classes are averaged over the pixels of a process, too.
        del cfg.model.decode_head.loss_decode.class_weight
    model = build(cfg).train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        data = DATASETS.build(cfg.train_dataloader.dataset)
    samples = []
    for index in range(IMAGES):
        with seeded_sample(0, 0, index):
            samples.append(data[index])
    return model, samples


def losses_of(model, samples, rank):
    # The heads sample boxes at random.
    seed_step(0, 0, rank)
    inner = getattr(model, 'module', model)
    data = inner.data_preprocessor(pseudo_collate(samples), training=True)
    total, _ = inner.parse_losses(model(**data, mode='loss'))
    return total


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def one_step_of_two(kind, folder):
    rank = distributed.get_rank()
    model, samples = model_and_samples(kind)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    loss = losses_of(wrapped, samples[rank::2], rank)
    loss.backward()
    shared = loss.detach().clone()
    distributed.all_reduce(shared)
    if rank == 0:
        torch.save((shared / 2, gradients(model)), Path(folder, 'two.pth'))


@pytest.mark.parametrize('kind', ['semantic', 'detection', 'instance'])
def test_two_processes_have_the_losses_and_gradients_of_one(kind, tmp_path):
    model, samples = model_and_samples(kind)
    if kind == 'semantic':
        loss = losses_of(model, samples, 0)
    else:
        # These losses are means over the objects of a process, not of a batch.
        loss = sum(losses_of(model, samples[rank::2], rank) for rank in range(2)) / 2
    loss.backward()
    in_two_processes(one_step_of_two, kind, str(tmp_path))
    two, found = torch.load(tmp_path / 'two.pth', weights_only=False)
    assert torch.allclose(two, loss, rtol=1e-5)
    expected = gradients(model)
    assert found.keys() == expected.keys() and len(found) > 100
    largest = max(float(each.abs().max()) for each in expected.values())
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-5 * largest), name
