"""Draws every image of a test run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from casvit.drawing.style import Style
from casvit_mm.engine.drawing import draw_sample
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class DrawTestHook(Hook):
    """Draws every image of a test run, with the ground truth beside the prediction.

    Args:
        folder (str): Output folder.
        score_thr (float): Detections below this score are not drawn. Defaults to 0.3.
        style (dict, optional): Options of :class:`casvit.drawing.style.Style`: ``line_width``,
            ``font_size``, ``labels``, ``boxes`` …
    """

    def __init__(
        self, folder: str, score_thr: float = 0.3, style: dict[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.score_thr = score_thr
        self.style = Style(**(style or {}))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Draws the images of this batch."""
        for sample in outputs or ():
            draw_sample(
                sample,
                runner.test_dataloader.dataset.metainfo,
                self.folder,
                score_thr=self.score_thr,
                style=self.style,
                visualizer=runner.visualizer,
            )
