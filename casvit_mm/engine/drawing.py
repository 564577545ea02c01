"""Draws predictions and ground truth for any task."""

from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.fileio import get
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

# Side of an image, in pixels, on which the names of classes can be read.
LEGIBLE = 256


def draw(sample: BaseDataElement, metainfo: dict[str, Any], folder: Path, score_thr: float) -> None:
    """Draws a data sample on its image with the visualiser of the run.

    Args:
        sample: A data sample of mmdet, mmseg or mmpretrain, with predictions, and with ground
            truth if it was loaded.
        metainfo: Metainfo of its dataset: class names and colours.
        folder: Output folder; the image is saved under its own name, as JPEG.
        score_thr: Detections below this score are left out.
    """
    visualizer = Visualizer.get_current_instance()
    visualizer.dataset_meta = metainfo
    image = mmcv.imfrombytes(get(sample.img_path), channel_order='rgb')
    path = Path(sample.img_path)
    # Images for classification are in one folder per class, and may have the same names in each.
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
