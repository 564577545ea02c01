"""Draws a few validation images at every validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from casvit.drawing.style import Style
from casvit_mm.engine.disk.outage import Outage
from casvit_mm.engine.drawing import draw_sample
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class PreviewHook(Hook):
    """Draws a few validation images at every validation, ground truth beside prediction.

    Every validation overwrites the images of the one before, so the folder shows the latest
    predictions. Ground truth is drawn if the validation pipeline loads it.

    Args:
        num_pictures (int): Images to draw, spread evenly over the validation set. Defaults to 8.
        score_thr (float): Detections below this score are not drawn. Defaults to 0.5.
        folder (str): Folder under the run's ``work_dir``. Defaults to 'preview'.
        style (dict, optional): Options of :class:`casvit.drawing.style.Style`: ``line_width``,
            ``font_size``, ``labels``, ``boxes`` …
    """

    def __init__(
        self,
        num_pictures: int = 8,
        score_thr: float = 0.5,
        folder: str = 'preview',
        style: dict[str, Any] | None = None,
    ) -> None:
        self.num_pictures = num_pictures
        self.score_thr = score_thr
        self.folder = folder
        self.style = Style(**(style or {}))
        self._outage: Outage | None = None

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Draws the images of this batch that are due."""
        batches = len(runner.val_dataloader)
        due = {index * batches // self.num_pictures for index in range(self.num_pictures)}
        if batch_idx not in due or not outputs or not is_main_process():
            return
        folder = Path(runner.work_dir) / self.folder
        if self._outage is None:
            self._outage = Outage('images of the validation', folder)
        # If there are fewer batches than images to draw, several come from one batch.
        for sample in outputs[: -(-self.num_pictures // batches)]:
            with self._outage.tolerated():
                draw_sample(
                    sample,
                    runner.val_dataloader.dataset.metainfo,
                    folder,
                    score_thr=self.score_thr,
                    style=self.style,
                    visualizer=runner.visualizer,
                )
