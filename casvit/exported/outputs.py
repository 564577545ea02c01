"""From the outputs of an exported model to results in pixels of the image."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from casvit.exported.description import Description
from casvit.exported.preparation import Prepared
from casvit.exported.resize import interpolation
from casvit.results import Classification, Detections, LocalMask, Result, SemanticMap
from casvit.results.detections import inside_image

STRIP = 64
"""Rows of an image whose classes are computed at a time."""


def to_result(
    outputs: Sequence[np.ndarray],
    prepared: Prepared,
    size: tuple[int, int],
    description: Description,
    score_threshold: float,
) -> Result:
    """The result of an image.

    Args:
        outputs: As :data:`casvit.exported.description.OUTPUTS` names them, of one image; those of
            segmentors and classifiers without the axis of the batch.
        prepared: The image as the network got it.
        size: Height and width of the image in pixels.
        description: Of the model.
        score_threshold: Objects below this score are left out.
    """
    height, width = size
    more: dict[str, Any] = dict(
        classes=description.classes, palette=description.palette, height=height, width=width
    )
    if description.task == 'classification':
        return Classification(np.asarray(outputs[0], np.float32), **more)
    if description.task == 'semantic':
        return SemanticMap(_class_ids(outputs[0], prepared, size, description), **more)
    boxes, scores, labels = outputs[:3]
    kept = np.flatnonzero(scores >= score_threshold)
    scale = np.array(prepared.scale * 2, np.float32)
    whole = np.asarray(boxes[kept], np.float32) / scale
    boxes, inside = inside_image(whole, height, width)
    if description.resizes and description.task == 'instance':
        # Boxes were cut off at the edges of the image inside the file.
        whole = np.asarray(outputs[4][kept], np.float32)
    kept, whole = kept[inside], whole[inside]
    masks = None
    if description.task == 'instance':
        threshold = description.mask_threshold
        if description.mask_stride:
            masks = _masks_of_input(outputs[3][kept], prepared, size, description)
        else:
            masks = [
                _mask_of_box(mask, box, size, threshold)
                for mask, box in zip(np.asarray(outputs[3][kept], np.float32), whole, strict=True)
            ]
    return Detections(
        boxes, np.asarray(scores[kept], np.float32), labels[kept].astype(np.int64), masks, **more
    )


def _mask_of_box(
    mask: np.ndarray, box: np.ndarray, size: tuple[int, int], threshold: float
) -> LocalMask:
    """Enlarges a mask to its box, bilinearly, with nothing outside, like mmdet's mask head.

    Args:
        mask: Probabilities over the area of the box. Shape: ``(h, w)``.
        box: x1, y1, x2, y2 in pixels of the image.
        size: Height and width of the image.
        threshold: The lowest probability of a pixel in the mask.
    """
    left, top, right, bottom = box
    # Next to a box, interpolation still reaches its outermost values.
    y1, y2 = max(int(top) - 1, 0), min(int(np.ceil(bottom)) + 1, size[0])
    x1, x2 = max(int(left) - 1, 0), min(int(np.ceil(right)) + 1, size[1])
    if y2 <= y1 or x2 <= x1:
        return LocalMask(0, 0, np.zeros((0, 0), bool))
    rows = _cells(y1, y2, top, bottom, mask.shape[0])
    columns = _cells(x1, x2, left, right, mask.shape[1])
    found = LocalMask.crop(rows @ mask @ columns.T >= threshold)
    return LocalMask(found.x + x1, found.y + y1, found.bitmap)


def _cells(first: int, last: int, start: float, end: float, count: int) -> np.ndarray:
    """Weights of a box's cells at the pixels from first to last. Shape: ``(pixels, cells)``."""
    length = max(end - start, np.finfo(np.float32).tiny)
    places = (np.arange(first, last) + 0.5 - start) / length * count - 0.5
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(count)), 0)
    return weights.astype(np.float32)


def _masks_of_input(
    logits: np.ndarray, prepared: Prepared, size: tuple[int, int], description: Description
) -> list[LocalMask]:
    """Enlarges masks of the whole input to the image, like mmdet's ``RTMDetInsHead``.

    Args:
        logits: Shape: ``(N, h, w)``.
        prepared: The image as the network got it.
        size: Height and width of the image.
        description: Of the model.
    """
    matrices = []
    for cells, pixels, scale in zip(logits.shape[1:], size, prepared.scale[::-1], strict=True):
        inputs = cells * description.mask_stride
        enlarged = int(np.ceil(inputs / scale))
        to_image = interpolation(inputs, enlarged)[:pixels]
        matrices.append(to_image @ interpolation(cells, inputs))
    rows, columns = matrices
    # A probability is above the threshold if its logit is above the threshold's.
    threshold = np.log(description.mask_threshold / (1 - description.mask_threshold))
    masks = []
    for each in np.asarray(logits, np.float32):
        mask = np.zeros(size, bool)
        enlarged = rows @ each @ columns.T
        mask[: enlarged.shape[0], : enlarged.shape[1]] = enlarged > threshold
        masks.append(LocalMask.crop(mask))
    return masks


def _class_ids(
    logits: np.ndarray, prepared: Prepared, size: tuple[int, int], description: Description
) -> np.ndarray:
    """The class with the highest enlarged logit at each pixel, like mmseg's segmentors.

    Args:
        logits: Shape: ``(C, h, w)``.
        prepared: The image as the network got it.
        size: Height and width of the image.
        description: Of the model.

    Returns:
        Shape: ``(H, W)``, uint8; uint16 for more than 256 classes.
    """
    logits = np.asarray(logits, np.float32)
    matrices = []
    sides = zip(logits.shape[1:], prepared.pixels.shape[:2], prepared.inside, size, strict=True)
    corners = description.align_corners
    for cells, pixels, inside, new in sides:
        if description.enlarge_twice or inside != pixels:
            to_input = interpolation(cells, pixels, align_corners=corners)[:inside]
            matrix = interpolation(inside, new, align_corners=corners) @ to_input
        else:
            matrix = interpolation(cells, new, align_corners=corners)
        matrices.append(matrix)
    rows, columns = matrices
    candidates = _possible_winners(logits)
    chosen = logits[candidates]
    ids = np.empty(size, np.uint8 if len(logits) <= 256 else np.uint16)
    for start in range(0, size[0], STRIP):
        strip = (rows[start : start + STRIP] @ chosen) @ columns.T
        ids[start : start + STRIP] = candidates[strip.argmax(0)]
    return ids


def _possible_winners(logits: np.ndarray) -> np.ndarray:
    """The classes that can have the highest logit somewhere, however it is interpolated.

    An enlarged logit is a mean of those of at most 3 x 3 neighbouring cells. A class whose highest
    logit there is below the lowest one of another class loses against that class.

    Args:
        logits: Shape: ``(C, h, w)``.

    Returns:
        Their indices, ascending. Shape: ``(K,)``.
    """
    highest, lowest = _of_neighbours(logits, np.maximum), _of_neighbours(logits, np.minimum)
    return np.flatnonzero((highest >= lowest.max(0)).any((1, 2)))


def _of_neighbours(values: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """The highest or lowest of the 3 x 3 values around each. Shape: ``(C, h, w)``."""
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1)
        padded = np.pad(values, padding, mode='edge')
        length = values.shape[axis]
        parts = [np.take(padded, range(at, at + length), axis) for at in range(3)]
        values = choose(choose(parts[0], parts[1]), parts[2])
    return values
