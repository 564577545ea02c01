"""Hooks that draw what a model answers, whatever the task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.dist import is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from casvit_mm.registration import registered_in

# Side of a picture, in pixels, on which the names of classes can be read.
LEGIBLE = 256


@registered_in(HOOKS)
class PreviewHook(Hook):
    """Draws a few validation pictures, ground truth beside prediction, at every validation.

    The pictures of a later validation replace those of an earlier one, so that the folder shows
    what the model last answered. Ground truth is drawn where the validation pipeline loads it.

    Args:
        num_pictures (int): Pictures to draw, taken evenly over the validation set. Defaults to 8.
        score_thr (float): Detections below this score are not drawn. Defaults to 0.5.
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
        batches = len(runner.val_dataloader)
        due = {index * batches // self.num_pictures for index in range(self.num_pictures)}
        if batch_idx not in due or not outputs or not is_main_process():
            return
        folder = Path(runner.work_dir) / self.folder
        # Where there are fewer batches than pictures, one batch gives several.
        for sample in outputs[: -(-self.num_pictures // batches)]:
            draw(sample, runner.val_dataloader.dataset.metainfo, folder, self.score_thr)


@registered_in(HOOKS)
class DrawTestHook(Hook):
    """Draws every picture of a test run, ground truth beside prediction.

    Args:
        folder (str): Where to.
        score_thr (float): Detections below this score are not drawn. Defaults to 0.3.
    """

    def __init__(self, folder: str, score_thr: float = 0.3) -> None:
        self.folder = Path(folder)
        self.score_thr = score_thr

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draws the pictures of this batch."""
        for sample in outputs or ():
            draw(sample, runner.test_dataloader.dataset.metainfo, self.folder, self.score_thr)


def draw(sample: Any, metainfo: dict[str, Any], folder: Path, score_thr: float) -> None:
    """Draws what stands in a data sample on its picture, with the visualiser of the run.

    Args:
        sample: A data sample of mmdet, mmseg or mmpretrain, with predictions, and ground truth
            where it was loaded.
        metainfo: Of its data set: class names and colours.
        folder: Where the picture goes, under the name of the file, as JPEG.
        score_thr: Detections below this score are left out.
    """
    visualizer = Visualizer.get_current_instance()
    visualizer.dataset_meta = metainfo
    image = mmcv.imfrombytes(get(sample.img_path), channel_order='rgb')
    path = Path(sample.img_path)
    # The pictures of a classifier lie in folders by class, and may be numbered in each.
    name = f'{path.parent.name}_{path.stem}' if 'pred_label' in sample else path.stem
    options = {}
    if 'pred_instances' in sample:
        drawable = 'bboxes' in sample.get('gt_instances', ())
        options = dict(draw_gt=drawable, pred_score_thr=score_thr)
    add_sample(visualizer, name, image, sample.cpu(), folder / f'{name}.jpg', **options)


def add_sample(
    visualizer: Visualizer,
    name: str,
    image: np.ndarray,
    sample: Any,
    out_file: Path,
    **options: Any,
) -> None:
    """Lets the visualiser of any of the toolboxes draw a data sample.

    Args:
        visualizer: Of mmdet, mmseg or mmpretrain, with the ``dataset_meta`` to draw by.
        name: Name of the picture.
        image: The RGB picture. Shape: ``(H, W, 3)``, uint8.
        sample: The data sample.
        out_file: Where the picture goes.
        **options: For the visualiser: ``draw_gt``, ``draw_pred``, ``show`` and its own.
    """
    options['out_file'] = str(out_file)
    if hasattr(visualizer, 'visualize_cls'):
        visualizer.visualize_cls(
            image,
            sample,
            classes=visualizer.dataset_meta['classes'],
            name=name,
            resize=max(LEGIBLE, min(image.shape[:2])),
            **options,
        )
    else:
        visualizer.add_datasample(name, image, data_sample=sample, **options)
