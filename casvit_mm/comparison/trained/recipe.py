"""The recipe of each task: the config of a demo, with a candidate in place of its backbone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from casvit.tables import COMPARED_TASKS
from casvit_mm.comparison.candidates import Candidate
from casvit_mm.comparison.trained.plan import Run
from casvit_mm.config.read import load_config
from casvit_mm.config.view import ConfigView, as_list, type_name

FACTORS = (0.5, 1, 1.5, 2)
"""Sides of the test images, as multiples of the side in training."""

WARM_UP = 10
"""The learning rate rises during one in so many steps, and then falls to 0 along a cosine."""

# Previews take time, and small images at first would leave no one size that a model was trained at.
LEFT_OUT = frozenset(['PreviewHook', 'ProgressiveSizeHook'])
CHECKPOINT_MINUTES = 0.25


@dataclass(frozen=True)
class Task:
    """How candidates are trained for a task.

    Attributes:
        config: Name of the demo's config.
        metric: What its evaluator calls the metric.
        title: The name of the metric for people.
        side: Side of the training images, in pixels.
        batch_size: Training images of a step.
        scale: What a value of the evaluator is multiplied with, to be a percentage.
    """

    config: str
    metric: str
    title: str
    side: int
    batch_size: int
    scale: float

    @property
    def sides(self) -> list[int]:
        """Sides of the test images, in pixels."""
        return [int(factor * self.side) for factor in FACTORS]


TASKS: dict[str, Task] = dict(
    zip(
        COMPARED_TASKS,
        (
            Task('retinanet_casvit-xs_demo_shapes', 'coco/bbox_mAP', 'box AP', 128, 4, 100),
            Task('semantic_fpn_casvit-xs_demo_shapes', 'mIoU', 'mIoU', 96, 4, 1),
        ),
        strict=True,
    )
)


def run_config(run: Run, candidate: Candidate, imports: Sequence[str] = ()) -> Config:
    """The config of a run.

    It is that of the demo, with another backbone and its channels, images of one size, and a
    schedule that scales with the number of steps.

    Args:
        run: The run.
        candidate: The candidate that it trains. It keeps the initialisation of its class.
        imports: Modules that register mixers.

    Returns:
        A complete config, without a work dir.
    """
    task = TASKS[run.task]
    cfg = load_config(task.config)
    cfg.model.backbone = candidate.backbone
    backbone: Any = candidate.build()
    cfg.model.neck.in_channels = list(backbone.out_channels)
    cfg.custom_imports.imports = [*cfg.custom_imports.imports, *imports]
    cfg.optim_wrapper.optimizer.lr *= run.rate
    cfg.randomness = dict(seed=run.seed)
    _schedule(cfg, run.steps)
    cfg.train_dataloader.batch_size = task.batch_size
    cfg.auto_scale_lr.base_batch_size = task.batch_size
    set_side(cfg, task.side)
    return cfg


def set_side(cfg: Config, side: int) -> None:
    """Sets the side of all images of a config, in place.

    Args:
        cfg: The config.
        side: In pixels.
    """
    if 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = (side, side)
    for dataset in ConfigView(cfg).datasets():
        for step in dataset['pipeline']:
            if type_name(step) == 'Resize':
                step['scale'] = (side, side)


def _schedule(cfg: Config, steps: int) -> None:
    """Trains for a number of steps, and validates once, after the last one."""
    warm = max(1, steps // WARM_UP)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
    cosine: dict[str, Any] = dict(begin=warm, end=steps, T_max=max(1, steps - warm))
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm),
        dict(type='CosineAnnealingLR', by_epoch=False, eta_min=0.0, **cosine),
    ]
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.train_dataloader.batch_sampler = None
    cfg.log_processor.by_epoch = False
    cfg.default_hooks.logger.update(log_metric_by_epoch=False, interval=10)
    cfg.default_hooks.checkpoint = dict(
        type='SafeCheckpointHook',
        by_epoch=False,
        interval=steps,
        max_keep_ckpts=1,
        every_minutes=CHECKPOINT_MINUTES,
    )
    cfg.custom_hooks = [
        hook for hook in as_list(cfg.custom_hooks) if type_name(hook) not in LEFT_OUT
    ]
