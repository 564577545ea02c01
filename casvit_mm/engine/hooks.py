"""Hooks: what a run does beside training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.utils import digit_version
from mmengine.visualization import Visualizer
from torch import Tensor, nn

# In this version it was measured to be faster; between 2.1 and this one nothing was measured.
FAST_CHANNELS_LAST = digit_version('2.13')


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains the backbone channels last (NHWC), in which its convolutions on a CPU are faster.

    See :func:`to_channels_last`. A torch that is slower in that layout keeps the ordinary one:
    the gradient of a depthwise convolution takes torch 2.1 some thirty times as long in it.
    """

    def before_train(self, runner: Runner) -> None:
        """Converts the backbone in place."""
        if digit_version(torch.__version__) < FAST_CHANNELS_LAST:
            runner.logger.info(
                f'ChannelsLastHook: torch {torch.__version__} keeps the ordinary layout, '
                'in which it is faster.'
            )
            return
        to_channels_last(runner.model.module if is_model_wrapper(runner.model) else runner.model)


def to_channels_last(model: nn.Module) -> None:
    """Converts the backbone of a detector or segmentor to channels last (NHWC), in place.

    Neck and heads follow the layout of what they are given. Where the model has one of mmcv's
    operators, the features leave the backbone in the ordinary layout: RoIAlign, for one, takes no
    heed of strides on a CPU, and reads channels-last maps as if they were not. The function that
    the model computes, its state dict and its checkpoints stay the same.

    Args:
        model (nn.Module): Has a ``backbone`` that returns a sequence of (N, C, H, W) features.
    """
    model.backbone.to(memory_format=torch.channels_last)
    if any(type(module).__module__.startswith('mmcv.ops.') for module in model.modules()):
        model.backbone.register_forward_hook(ordinary_layout)


def ordinary_layout(_: nn.Module, __: Any, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Forward hook that hands features on in NCHW order in memory."""
    return tuple(feature.contiguous() for feature in features)


@HOOKS.register_module()
class PreviewHook(Hook):
    """Draws a few validation pictures, ground truth beside prediction, at every validation.

    The pictures of a later validation replace those of an earlier one, so that the folder shows
    what the model last answered. Ground truth is drawn where the validation pipeline loads it.

    Args:
        num_pictures (int): Pictures to draw, taken evenly over the validation set. Defaults to 8.
        score_thr (float): Predictions below this score are not drawn. Defaults to 0.5.
        folder (str): Folder under the run's ``work_dir``. Defaults to 'preview'.
    """

    def __init__(
        self, num_pictures: int = 8, score_thr: float = 0.5, folder: str = 'preview'
    ) -> None:
        self.num_pictures = num_pictures
        self.score_thr = score_thr
        self.folder = folder

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draws the pictures of this batch that are due."""
        if not is_main_process():
            return
        batches = len(runner.val_dataloader)
        due = {index * batches // self.num_pictures for index in range(self.num_pictures)}
        if batch_idx not in due or not outputs:
            return
        visualizer = Visualizer.get_current_instance()
        visualizer.dataset_meta = runner.val_dataloader.dataset.metainfo
        # Where there are fewer batches than pictures, one batch gives several.
        for sample in outputs[: -(-self.num_pictures // batches)]:
            image = mmcv.imfrombytes(get(sample.img_path), channel_order='rgb')
            stem = Path(sample.img_path).stem
            visualizer.add_datasample(
                stem,
                image,
                data_sample=sample.cpu(),
                draw_gt='bboxes' in sample.get('gt_instances', ()),
                pred_score_thr=self.score_thr,
                out_file=str(Path(runner.work_dir) / self.folder / f'{stem}.jpg'),
            )
