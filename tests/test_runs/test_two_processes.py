"""What two processes compute together is what one computes alone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import DATASETS, DefaultScope
from mmengine.utils import digit_version
from small_models import DEMOS, build
from torch import distributed
from two_processes import in_two_processes

from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.engine import CASViTRunner
from casvit_mm.engine.exact.randomness import seed_step, seeded_sample
from casvit_mm.models import CASViT

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


class Features(BaseModel):
    """A model whose loss has a different gradient at each weight of a backbone."""

    def __init__(self):
        super().__init__()
        channels = (8, 8, 16, 16)
        self.backbone = CASViT(dict(depths=(1, 1, 1, 1), channels=channels), norm_eval=False)

    def forward(self, *images, mode='loss'):
        levels = self.backbone(torch.stack(images))
        slopes = [torch.linspace(-9, 9, each.numel()).view(each.shape).sin() for each in levels]
        parts = [(each * slope).mean() for each, slope in zip(levels, slopes, strict=True)]
        return dict(loss=sum(parts))


def first_steps(folder, launcher, batch_size):
    """Trains two steps with `speed.channels_last`; gives the gradients of each, and the layout."""
    torch.manual_seed(0)
    runner = CASViTRunner(
        model=Features(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=batch_size,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=[torch.randn(3, 64, 64) for _ in range(4)],
            collate_fn=dict(type='pseudo_collate'),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        default_hooks=dict(logger=None, checkpoint=None),
        launcher=launcher,
        randomness=dict(seed=0),
        log_level='ERROR',
        cfg=dict(
            speed=dict(channels_last=True),
            model_wrapper_cfg=dict(broadcast_buffers=False, device_ids=None),
        ),
    )
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    steps, model = [], getattr(runner.model, 'module', runner.model)

    def note(*_):
        steps.append({name: each.clone() for name, each in gradients(model).items()})

    runner.optim_wrapper.optimizer.register_step_pre_hook(note)
    runner.train()
    weight = model.backbone.stem[0].weight
    return steps, weight.is_contiguous(memory_format=torch.channels_last)


def first_steps_of_two(folder):
    found = first_steps(Path(folder, str(distributed.get_rank())), 'pytorch', 1)
    if distributed.get_rank() == 0:
        torch.save(found, Path(folder, 'two.pth'))


def test_the_first_gradients_of_two_processes_belong_to_their_weights(tmp_path):
    # A batch of each process has statistics of its own: those of one process come from two runs.
    in_two_processes(first_steps_of_two, str(tmp_path))
    steps, is_laid_out = torch.load(tmp_path / 'two.pth', weights_only=False)
    assert is_laid_out == (digit_version(torch.__version__) >= digit_version('2.13'))
    assert len(steps) == 2
    torch.manual_seed(0)
    model = Features().train()
    images = [torch.randn(3, 64, 64) for _ in range(4)]
    for step in range(2):
        losses = [model(images[2 * step + rank])['loss'] for rank in range(2)]
        (sum(losses) / 2).backward()
        # Those of biases before a norm are rounding errors.
        expected = {name: each for name, each in gradients(model).items() if each.dim() == 4}
        for name, gradient in expected.items():
            difference = (steps[step][name] - gradient).abs().max()
            assert difference <= 1e-3 * gradient.abs().max(), (step, name)
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.01 * weight.grad
        model.zero_grad()
