"""A contact sheet of images with their annotations drawn on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from casvit.drawing.draw import draw_detections, draw_semantic_map
from casvit.results import Colour, Detections, LocalMask, SemanticMap
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.coco_scan import box_corners
from casvit_mm.datasets.audit.masks import MaskAudit, UnreadableMaskError, read_labels
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.datasets.object_masks.coding import encode_mask

CELL = 320
COLUMNS = 4


def object_sheet(audit: ObjectAudit, number: int, seed: int, palette: Sequence[Colour]) -> bytes:
    """Draws random images of a dataset of objects.

    Args:
        audit: Its audit.
        number: Number of images.
        seed: Random seed.
        palette: RGB colour of each class.

    Returns:
        The sheet, as JPEG; empty if no image can be read.
    """
    entries = [
        (name, record) for name, scan in audit.scans.items() for _, record in scan.images.values()
    ]
    cells: list[np.ndarray] = []
    for index in np.random.default_rng(seed).permutation(len(entries)):
        if len(cells) == number:
            break
        name, record = entries[index]
        image = _read(audit.dataset.splits[name].image(record))
        if image is None:
            continue
        scan = audit.scans[name]
        own = [r for _, r in scan.annotations if r['image_id'] == record['id']]
        labels = [audit.classes.index(scan.categories[r['category_id']]) for r in own]
        # Drawn at display size, so that text and lines are legible.
        small = _fitted(image)
        factor = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        boxes = np.array([box_corners(r['bbox']) for r in own], float).reshape(-1, 4)
        # Clipped near the image: coordinates of a file may be too large for float32.
        boxes = np.clip(boxes * [*factor, *factor], -CELL, 2 * CELL)
        drawn = Detections(
            boxes.astype(np.float32),
            np.ones(len(own), np.float32),
            np.array(labels, np.int64),
            [_mask(r, image.shape[:2], small.shape[:2]) for r in own],
            classes=audit.classes,
            palette=palette,
            height=small.shape[0],
            width=small.shape[1],
        )
        cells.append(_cell(draw_detections(drawn, small, scored=False)))
    return _sheet(cells)


def mask_sheet(audit: MaskAudit, number: int, seed: int) -> bytes:
    """Draws random images with their semantic masks.

    Args:
        audit: The audit of the dataset.
        number: Number of images.
        seed: Random seed.

    Returns:
        The sheet, as JPEG; empty if no image can be read.
    """
    pairs = [pair for pairs in audit.dataset.splits.values() for pair in pairs]
    classes = [*audit.classes, 'ignored']
    ignored = len(audit.classes)
    palette = audit.dataset.palette[:ignored]
    palette = [*palette, *map(wheel, range(len(palette), ignored)), (0, 0, 0)]
    cells: list[np.ndarray] = []
    for index in np.random.default_rng(seed).permutation(len(pairs)):
        if len(cells) == number:
            break
        pair = pairs[index]
        if pair.image is None or pair.mask is None:
            continue
        image = _read(pair.image)
        try:
            labels, _ = read_labels(pair.mask, audit.dataset.legend)
        except UnreadableMaskError:
            continue
        if image is None or labels.shape != image.shape[:2]:
            continue
        shown: np.ndarray = audit.indices(labels).astype(np.uint16)
        shown[shown == IGNORE_INDEX] = ignored
        small = _fitted(image)
        shown = cv2.resize(shown, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        height, width = shown.shape
        drawn = SemanticMap(shown, classes=classes, palette=palette, height=height, width=width)
        cells.append(_cell(draw_semantic_map(drawn, small)))
    return _sheet(cells)


def _read(path: Path) -> np.ndarray | None:
    """Reads an image as a run loads it (rotated by OpenCV), in RGB; None if it cannot be read."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    except (OSError, ValueError, cv2.error):
        return None
    return None if image is None else image[..., ::-1]


def _mask(record: dict[str, Any], size: tuple[int, int], shown: tuple[int, int]) -> LocalMask:
    """The mask of a record, resized; empty if it has none that can be drawn."""
    nothing = LocalMask(0, 0, np.zeros((0, 0), bool))
    height, width = size
    encoded = encode_mask(record.get('segmentation'), (width, height))
    if encoded is None or list(encoded['size']) != [height, width]:
        return nothing
    try:
        bitmap = rle.decode(encoded)
    except ValueError:
        return nothing
    return LocalMask.crop(cv2.resize(bitmap, shown[::-1], interpolation=cv2.INTER_AREA) > 0)


def _fitted(image: np.ndarray) -> np.ndarray:
    """Resizes an image so that its longer side fits a cell."""
    factor = CELL / max(image.shape[:2])
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)


def _cell(image: np.ndarray) -> np.ndarray:
    """Centres an image in a square cell."""
    cell = np.full((CELL, CELL, 3), 255, np.uint8)
    height, width = image.shape[:2]
    top, left = (CELL - height) // 2, (CELL - width) // 2
    cell[top : top + height, left : left + width] = image
    return cell


def _sheet(cells: list[np.ndarray]) -> bytes:
    if not cells:
        return b''
    blank = np.full((CELL, CELL, 3), 255, np.uint8)
    columns = min(COLUMNS, len(cells))
    cells += [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    sheet = np.vstack(rows)[..., ::-1]
    _, encoded = cv2.imencode('.jpg', sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return encoded.tobytes()
