"""Runs of a tiny model in which everything is random, to be interrupted and resumed."""

import random
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS, RUNNERS
from mmengine.utils import ManagerMixin
from torch import nn
from torch.utils.data import Dataset

import casvit_mm  # noqa: F401

IMAGES = 14


class Noise(Dataset):
    """Samples that are random in all three ways that pipelines use."""

    def __init__(self, noisy=True):
        self.metainfo = dict(classes=('one',))
        self.noisy = noisy

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(()).item()
        return torch.tensor([float(index), noise if self.noisy else 0.5])


class Random(BaseModel):
    """A model with dropout and the statistics of a batch norm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.Linear(8, 1)
        )

    def forward(self, *samples, mode='tensor'):
        x = torch.stack(samples)
        output = self.layers(x)
        if mode == 'predict':
            return [output.mean()]
        factor = random.random() + np.random.rand()
        return dict(loss=(output - x.sum(1, keepdim=True)).square().mean() * factor)


@METRICS.register_module()
class MeanOutput(BaseMetric):
    """A metric of the weights that falls and rises as they do."""

    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0]))

    def compute_metrics(self, results):
        return dict(accuracy=float(np.sin(1e3 * np.mean(results))))


def exact_run(
    work_dir,
    *,
    iterations=None,
    epochs=3,
    workers=0,
    accumulated=1,
    noisy=True,
    batch=4,
    model=Random,
    sampler=None,
    **options,
):
    """A runner as in a new process.

    Args:
        work_dir: Its folder.
        iterations: Steps, for a run that counts iterations.
        epochs: Epochs, otherwise.
        workers: Processes that load data.
        accumulated: Steps for each update.
        model: Class of the model.
        noisy: Whether samples of the validation are random, too.
        batch: Images of a step.
        sampler: Config of the sampler; mmengine's usual one if None.
        options: Further options of the runner.
    """
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()
    loader = dict(
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        dataset=Noise(),
        sampler=sampler or dict(type='DefaultSampler', shuffle=True),
    )
    train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
    if iterations:
        train_cfg = dict(by_epoch=False, max_iters=iterations, val_interval=4)
    checkpoint = dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=1,
        max_keep_ckpts=-1,
        save_best='toy/accuracy',
    )
    plateau = dict(
        type='ReduceOnPlateauLR', monitor='toy/accuracy', factor=0.5, patience=0, by_epoch=True
    )
    warm_up = dict(type='LinearLR', start_factor=0.1, begin=0, end=5, by_epoch=False)
    own = options.pop('custom_hooks', [])
    torch.manual_seed(0)
    return RUNNERS.get('CASViTRunner')(
        model=model(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader={
            **loader,
            'dataset': Noise(noisy),
            'sampler': dict(type='DefaultSampler', shuffle=False),
        },
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2), accumulative_counts=accumulated),
        param_scheduler=[warm_up, plateau],
        train_cfg=train_cfg,
        val_cfg=dict(),
        default_hooks={'logger': None, 'checkpoint': checkpoint},
        custom_hooks=[
            dict(type='EMAHook', momentum=0.1),
            dict(type='EarlyStoppingHook', monitor='toy/accuracy', patience=9),
            *own,
        ],
        cfg=dict(),
        **{
            'val_evaluator': dict(type='MeanOutput'),
            'randomness': dict(seed=0),
            'log_level': 'ERROR',
            **options,
        },
    )


def end_of(work_dir):
    """Everything that a run leaves: weights, average, optimiser and schedules."""
    file = max(Path(work_dir).glob('iter_*.pth'), key=lambda path: int(path.stem[5:]))
    saved = torch.load(file, map_location='cpu', weights_only=False)
    left = dict(saved['state_dict'])
    left |= {f'average {key}': value for key, value in saved['ema_state_dict'].items()}
    for number, state in saved['optimizer']['state'].items():
        left |= {f'optimizer {number} {key}': value for key, value in state.items()}
    for number, state in enumerate(saved['param_schedulers']):
        left |= {f'schedule {number} {key}': value for key, value in state.items()}
    left |= {f'hook {key}': value for key, value in saved['run_state']['hooks'].items()}
    return left
