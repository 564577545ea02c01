"""Turns data samples of mmdet, mmseg and mmpretrain into results that can be drawn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from mmengine.structures import BaseDataElement

from casvit.drawing.palette import colours_of, object_palette
from casvit.results import Classification, Colour, Detections, LocalMask, SemanticMap
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
    """

    truth: Detections | SemanticMap | None = None
    prediction: Detections | SemanticMap | None = None


class Classified(NamedTuple):
    """What a data sample for classification holds.

    Attributes:
        labels: Names of the annotated classes; empty if they were not loaded.
        prediction: The prediction; None if there is none.
    """

    labels: list[str]
    prediction: Classification | None = None


def shown_in(
    sample: BaseDataElement,
    metainfo: Mapping[str, Any],
    size: tuple[int, int],
    score_thr: float = 0.0,
) -> Shown | Classified | None:
    """Reads what a data sample holds.

    Args:
        sample: A data sample, on the CPU.
        metainfo: Metainfo of its dataset: ``classes``, and ``palette`` if it has one.
        size: Height and width of its image.
        score_thr: Detections below this score are left out.

    Returns:
        The annotations and the prediction; None if there is no kind of result for them, such as
        rotated boxes or panoptic segmentation.
    """
    if any(part in sample for part in OTHER):
        return None
    if 'pred_sem_seg' in sample or 'gt_sem_seg' in sample:
        truth, prediction = (
            _map(sample.get(part), metainfo, size) for part in ('gt_sem_seg', 'pred_sem_seg')
        )
        return Shown(truth, prediction)
    if 'pred_instances' in sample or 'gt_instances' in sample:
        parts = [sample.get('gt_instances'), sample.get('pred_instances')]
        if any(_is_rotated(instances) for instances in parts):
            return None
        return Shown(*(_objects(instances, metainfo, size, score_thr) for instances in parts))
    if 'pred_score' in sample or 'gt_label' in sample:
        return _classified(sample, metainfo, size)
    return None


def _is_rotated(instances: Any) -> bool:
    boxes = None if instances is None else instances.get('bboxes')
    return boxes is not None and getattr(boxes, 'tensor', boxes).shape[-1] != 4


def _objects(
    instances: Any, metainfo: Mapping[str, Any], size: tuple[int, int], score_thr: float
) -> Detections | None:
    # Annotations that were not loaded are an empty set without boxes.
    if instances is None or 'bboxes' not in instances:
        return None
    boxes = _array(getattr(instances.bboxes, 'tensor', instances.bboxes)).astype(np.float32)
    labels = _array(instances.labels).astype(np.int64)
    # Annotations have no scores.
    scores = np.ones(len(boxes)) if 'scores' not in instances else _array(instances.scores)
    names = _names(metainfo, labels)
    found = Detections(
        boxes,
        scores.astype(np.float32),
        labels,
        _masks(instances.masks) if 'masks' in instances else None,
        classes=names,
        palette=object_palette(_palette(metainfo), len(names)),
        height=size[0],
        width=size[1],
    )
    return found.select(scores >= score_thr)


def _masks(masks: Any) -> list[LocalMask]:
    # mmdet has masks as polygons, as bitmaps, and as tensors.
    dense = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else _array(masks)
    return [LocalMask.crop(mask > 0) for mask in dense]


def _map(part: Any, metainfo: Mapping[str, Any], size: tuple[int, int]) -> SemanticMap | None:
    if part is None or 'data' not in part:
        return None
    stored = _array(part.data).squeeze(0)
    ignored = (stored == IGNORE_INDEX) | (stored < 0)
    names = _names(metainfo, np.where(ignored, 0, stored))
    labels = np.where(ignored, len(names), stored).astype(np.uint16)
    return SemanticMap(
        _resized(labels, *size),
        classes=[*names, 'ignored'],
        palette=[*colours_of(_palette(metainfo), len(names)).tolist(), IGNORED],
        height=size[0],
        width=size[1],
    )


def _resized(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask in the size of its image: some pipelines load it before they resize."""
    if labels.shape == (height, width):
        return labels
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    return labels[rows[:, None], columns]


def _classified(
    sample: BaseDataElement, metainfo: Mapping[str, Any], size: tuple[int, int]
) -> Classified:
    labels = _array(sample.gt_label).ravel() if 'gt_label' in sample else np.zeros(0, int)
    names = _names(metainfo, labels)
    truth = [names[index] for index in labels.tolist()]
    if 'pred_score' not in sample:
        return Classified(truth)
    scores = _array(sample.pred_score).astype(np.float32).ravel()
    names = _names(metainfo, np.arange(len(scores)))[: len(scores)]
    palette = object_palette(_palette(metainfo), len(names))
    prediction = Classification(
        scores, classes=names, palette=palette, height=size[0], width=size[1]
    )
    return Classified(truth, prediction)


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
