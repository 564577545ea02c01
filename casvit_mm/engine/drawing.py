"""Draws data samples of any task in the style of the results."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.fileio import get
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from casvit.drawing.files import compared, drawn_for_file, labelled_image
from casvit.drawing.style import STYLE, Style
from casvit.extras import OPENMMLAB
from casvit.inputs.bands import NUMPY_START, as_colours, decode_bands
from casvit.inputs.images import write_image
from casvit_mm.config.view import type_name
from casvit_mm.datasets.decoding import quiet_decoders
from casvit_mm.engine.samples import Classified, shown_in

HOOKS = ('PreviewHook', 'DrawTestHook')
# Side of an image, in pixels, on which mmpretrain's visualiser writes legibly.
LEGIBLE = 256
JPEG_LIMIT = 65500


def draw_sample(
    sample: BaseDataElement,
    metainfo: dict[str, Any],
    folder: Path,
    *,
    score_thr: float = 0.0,
    style: Style = STYLE,
    visualizer: Visualizer | None = None,
) -> None:
    """Draws a data sample on its image, with the ground truth beside the prediction.

    Args:
        sample: A data sample of mmdet, mmseg or mmpretrain, with predictions, and with ground
            truth if it was loaded.
        metainfo: Metainfo of its dataset: class names and colours.
        folder: Output folder; the image is saved under its own name, as JPEG.
        score_thr: Detections below this score are left out.
        style: How to draw.
        visualizer: The visualiser of the run. It draws what has no kind of result, such as
            panoptic segmentation; and everything if it is a class of the user's own.
    """
    image = _shown(sample.img_path)
    path = Path(sample.img_path)
    # Images for classification are in one folder per class, and may have the same names in each.
    of_class = 'pred_score' in sample
    name = f'{path.parent.name}_{path.stem}' if of_class else path.stem
    sample = sample.cpu()
    drawn = None
    if visualizer is None or not is_users_own(visualizer):
        drawn = drawn_sample(sample, metainfo, image, score_thr=score_thr, style=style)
    if drawn is not None:
        write_drawn(drawn, folder, name)
    elif visualizer is not None:
        options = {}
        if 'pred_instances' in sample:
            drawable = 'bboxes' in sample.get('gt_instances', ())
            options = dict(draw_gt=drawable, pred_score_thr=score_thr)
        visualizer.dataset_meta = metainfo
        add_sample(visualizer, name, image, sample, folder / f'{name}.jpg', **options)


def _shown(path: str) -> np.ndarray:
    """The image file of a sample in colour. Shape: ``(H, W, 3)``, uint8 RGB."""
    content = get(path)
    image = None
    if not content.startswith(NUMPY_START):
        with suppress(cv2.error), quiet_decoders():
            image = mmcv.imfrombytes(content, channel_order='rgb')
    return as_colours(decode_bands(content, path)) if image is None else image


def drawn_sample(
    sample: BaseDataElement,
    metainfo: dict[str, Any],
    image: np.ndarray,
    *,
    score_thr: float = 0.0,
    style: Style = STYLE,
) -> np.ndarray | None:
    """Draws what a data sample holds: annotations, a prediction, or both side by side.

    Args:
        sample: The data sample, on the CPU.
        metainfo: Metainfo of its dataset.
        image: The image. Shape: ``(H, W, 3)``, uint8 RGB.
        score_thr: Detections below this score are left out.
        style: How to draw.

    Returns:
        A new image, enlarged if it is small. Shape: ``(h, w, 3)``, uint8 RGB. None if there is no
        kind of result for the sample.
    """
    shown = shown_in(sample, metainfo, (image.shape[0], image.shape[1]), score_thr)
    if isinstance(shown, Classified):
        return labelled_image(shown.labels, shown.prediction, image, style)
    if shown is None:
        return None
    truth, prediction = shown
    if truth is not None and prediction is not None:
        return compared(truth, prediction, image, style)
    if prediction is not None:
        return drawn_for_file(prediction, image, style)
    return None if truth is None else drawn_for_file(truth, image, style, scored=False)


def write_drawn(drawn: np.ndarray, folder: Path, name: str) -> Path:
    """Writes a drawn image as JPEG, or as PNG if it is too large for that.

    Args:
        drawn: Shape: ``(h, w, 3)``, uint8 RGB.
        folder: The folder, which is created if it is missing.
        name: The name without a suffix.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not with_suffix, which would cut a name that has a dot.
    file = folder / f'{name}{".jpg" if max(drawn.shape) < JPEG_LIMIT else ".png"}'
    write_image(drawn, file)
    return file


def is_users_own(visualizer: Visualizer) -> bool:
    """Whether a visualiser is of a class that a user wrote, to draw in another way."""
    return type(visualizer).__module__.split('.')[0] not in OPENMMLAB


def set_style(cfg: Config, style: dict[str, Any]) -> None:
    """Sets the style in which the hooks of a config draw.

    Args:
        cfg: The config, changed in place.
        style: Options of :class:`casvit.drawing.style.Style` that differ from the defaults.
    """
    hooks = cfg.get('custom_hooks') or []
    for hook in [hooks] if isinstance(hooks, dict) else hooks:
        if style and type_name(hook) in HOOKS:
            hook['style'] = {**(hook.get('style') or {}), **style}


def add_sample(
    visualizer: Visualizer,
    name: str,
    image: np.ndarray,
    sample: BaseDataElement,
    out_file: Path,
    **options: Any,
) -> None:
    """Draws a data sample with the visualiser of any of the toolboxes.

    Args:
        visualizer: A visualiser of mmdet, mmseg or mmpretrain, with its ``dataset_meta`` set.
        name: Name of the image.
        image: The RGB image. Shape: ``(H, W, 3)``, uint8.
        sample: The data sample.
        out_file: Output file.
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
