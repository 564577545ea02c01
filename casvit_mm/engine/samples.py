"""Turns data samples of mmdet, mmseg and mmpretrain into results that can be drawn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from mmengine.structures import BaseDataElement

from casvit.drawing.palette import colours_of, object_palette
from casvit.results import Classification, Colour, Detections, LocalMask, Result, SemanticMap
from casvit.tables import IGNORE_INDEX
from casvit_mm.models.checkpoint.meta import is_palette

# Parts of data samples that are drawn by mmdet's visualiser.
OTHER = ('pred_panoptic_seg', 'gt_panoptic_seg')
IGNORED: Colour = (0, 0, 0)


class Shown(NamedTuple):
    """What a data sample holds.

    Attributes:
        truth: The annotations; None if they were not loaded.
        prediction: The prediction; None if there is none.
        labels: Names of the annotated classes of an image for classification.
    """

    truth: Result | None = None
    prediction: Result | None = None
    labels: tuple[str, ...] = ()


def shown_in(
    sample: BaseDataElement,
    metainfo: Mapping[str, Any],
    height: int,
    width: int,
    score_thr: float = 0.0,
) -> Shown | None:
    """Reads what a data sample holds.

    Args:
        sample: A data sample, on the CPU.
        metainfo: Metainfo of its dataset: ``classes``, and ``palette`` if it has one.
        height: Height of its image.
        width: Width of its image.
        score_thr: Detections below this score are left out.

    Returns:
        The annotations and the prediction; None if there is no kind of result for them, such as
        rotated boxes or panoptic segmentation.
    """
    if any(part in sample for part in OTHER):
        return None
    size = dict(height=height, width=width)
    if 'pred_sem_seg' in sample or 'gt_sem_seg' in sample:
        return _segmented(sample, metainfo, size)
    if 'pred_instances' in sample or 'gt_instances' in sample:
        return _detected(sample, metainfo, size, score_thr)
    if 'pred_score' in sample or 'gt_label' in sample:
        return _classified(sample, metainfo, size)
    return None


def _detected(
    sample: BaseDataElement, metainfo: Mapping[str, Any], size: dict[str, int], score_thr: float
) -> Shown | None:
    results: list[Detections | None] = []
    for instances in (sample.get('gt_instances'), sample.get('pred_instances')):
        # Annotations that were not loaded are an empty set without boxes.
        if instances is None or 'bboxes' not in instances:
            results.append(None)
            continue
        boxes = _array(getattr(instances.bboxes, 'tensor', instances.bboxes))
        if boxes.ndim != 2 or boxes.shape[1] != 4 or 'labels' not in instances:
            return None
        labels = _array(instances.labels).astype(np.int64)
        scores = np.ones(len(boxes)) if 'scores' not in instances else _array(instances.scores)
        names = _names(metainfo, labels)
        found = Detections(
            boxes.astype(np.float32),
            scores.astype(np.float32),
            labels,
            _masks(instances.masks) if 'masks' in instances else None,
            classes=names,
            palette=object_palette(_palette(metainfo), len(names)),
            **size,
        )
        results.append(found.select(found.scores >= score_thr))
    return Shown(*results)


def _masks(masks: Any) -> list[LocalMask]:
    # mmdet has masks as polygons, as bitmaps, and as tensors.
    dense = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else _array(masks)
    return [LocalMask.crop(mask > 0) for mask in dense]


def _segmented(sample: BaseDataElement, metainfo: Mapping[str, Any], size: dict[str, int]) -> Shown:
    results: list[SemanticMap | None] = []
    for part in (sample.get('gt_sem_seg'), sample.get('pred_sem_seg')):
        if part is None or 'data' not in part:
            results.append(None)
            continue
        stored = _array(part.data).squeeze(0)
        ignored = (stored == IGNORE_INDEX) | (stored < 0)
        labels = np.where(ignored, 0, stored)
        names = _names(metainfo, labels)
        labels = np.where(ignored, len(names), labels).astype(np.uint16)
        colours = [*colours_of(_palette(metainfo), len(names)).tolist(), IGNORED]
        results.append(
            SemanticMap(
                _resized(labels, **size), classes=[*names, 'ignored'], palette=colours, **size
            )
        )
    return Shown(*results)


def _resized(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask in the size of its image: some pipelines load it before they resize."""
    if labels.shape == (height, width):
        return labels
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    return labels[rows[:, None], columns]


def _classified(
    sample: BaseDataElement, metainfo: Mapping[str, Any], size: dict[str, int]
) -> Shown:
    prediction = None
    if 'pred_score' in sample:
        scores = _array(sample.pred_score).astype(np.float32).ravel()
        names = _names(metainfo, np.arange(len(scores)))[: len(scores)]
        palette = object_palette(_palette(metainfo), len(names))
        prediction = Classification(scores, classes=names, palette=palette, **size)
    labels = _array(sample.gt_label).ravel() if 'gt_label' in sample else np.zeros(0, int)
    names = _names(metainfo, labels)
    return Shown(None, prediction, tuple(names[index] for index in labels.tolist()))


def _names(metainfo: Mapping[str, Any], labels: np.ndarray) -> list[str]:
    """The class names, with further ones for labels that the dataset does not name."""
    names = list(map(str, metainfo.get('classes') or ()))
    wanted = int(labels.max()) + 1 if labels.size else 0
    return names + [f'class {index}' for index in range(len(names), wanted)]


def _palette(metainfo: Mapping[str, Any]) -> list[Colour]:
    palette = metainfo.get('palette')
    if not is_palette(palette):
        return []
    return [(red, green, blue) for red, green, blue in palette]


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, 'detach') else values)
