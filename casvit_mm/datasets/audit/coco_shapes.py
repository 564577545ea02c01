"""Compares boxes and masks with each other and with their images, for many objects at once."""

from collections.abc import Sequence

import numpy as np
import shapely

from casvit.sentences import count_of
from casvit_mm.datasets.audit.coco_scan import CocoScan, box_corners, shown_box
from casvit_mm.datasets.formats.coco.file import RecordId
from casvit_mm.datasets.object_masks.coding import mask_bounds
from casvit_mm.datasets.object_masks.polygons import polygons_of

# Below this intersection over union, a box and the bounds of its mask are of different objects.
SAME_OBJECT = 0.5
# Above this share of a file's objects, a fault is one of the whole file.
MOST = 0.5
# Boxes in pixels may be as small as this by chance, but not nearly all of them.
UNIT = 1.001


def check_units(scan: CocoScan, *, corners: bool = True) -> None:
    """Finds boxes in shares of the image instead of pixels, or corners instead of sizes.

    Args:
        scan: The usable records, to which issues are added.
        corners: Whether to guess from the edges of the images that boxes are corners.
    """
    objects = [(i, r) for i, r in scan.annotations if r['bbox'][2] > 0 and r['bbox'][3] > 0]
    if not objects:
        return
    boxes = np.array([record['bbox'] for _, record in objects], float)
    sizes = np.array([_size(scan, record['image_id']) for _, record in objects], float)
    ends = boxes[:, :2] + boxes[:, 2:]
    fractional = (boxes != np.round(boxes)).any()
    shares = (boxes >= 0).all(1) & (ends <= UNIT).all(1) & (sizes > 2).all(1)
    if fractional and shares.mean() > MOST:
        detail = (
            f'coordinates look normalised (0 to 1), expected are pixels: bbox = {_first(boxes)}'
        )
        _add_for_file(scan, objects, shares, detail)
        return
    outside = (ends > sizes + 1).any(1)
    as_corners = (boxes[:, 2:] > boxes[:, :2]).all(1) & (boxes[:, 2:] <= sizes + 1).all(1)
    if corners and as_corners.mean() > 0.99 and outside.mean() > MOST:
        detail = 'boxes look like corners x1, y1, x2, y2, expected are x, y, width, height: bbox = '
        _add_for_file(scan, objects, outside, detail + _first(boxes[outside]))


def compare_with_masks(scan: CocoScan) -> int:
    """Finds boxes that disagree with the bounds of their masks; returns the number compared."""
    owners, bounds = _bounds(scan)
    if not owners:
        return 0
    boxes = np.array([box_corners(scan.annotations[p][1]['bbox']) for p in owners], float)
    sizes = np.array([_size(scan, scan.annotations[p][1]['image_id']) for p in owners], float)
    # Compared as they are seen: annotators draw across the edge of an image.
    seen, masks = (_clipped(corners, sizes) for corners in (boxes, bounds))
    # Boxes outside the image or without area have issues of their own.
    visible = ((seen[:, 2:] - seen[:, :2]) >= 1).all(1)
    for number in np.flatnonzero(visible & (_overlap(seen, masks) < SAME_OBJECT)):
        index, record = scan.annotations[owners[number]]
        x1, y1, x2, y2 = bounds[number]
        box = [round(float(value), 1) for value in (x1, y1, x2 - x1, y2 - y1)]
        detail = f'has bbox = {shown_box(record["bbox"])}, but its mask fills [{_listed(box)}]'
        x, y, right, bottom = record['bbox']
        if _overlap(np.array([[x, y, right, bottom]], float), bounds[number : number + 1])[0] > 0.9:
            detail += ': the box looks like corners x1, y1, x2, y2'
        scan.add('box-mask-mismatch', 'annotations', index, record, detail)
    return len(owners)


def find_duplicates(scan: CocoScan) -> None:
    """Finds objects that are annotated twice: same image, class, box and mask."""
    first: dict[tuple, list[int]] = {}
    for position, (index, record) in enumerate(scan.annotations):
        key = (record['image_id'], record['category_id'], *record['bbox'])
        others = first.setdefault(key, [])
        for other in others:
            earlier, same = scan.annotations[other]
            if (same.get('segmentation') or None) == (record.get('segmentation') or None):
                detail = f'is the same object as annotations[{earlier}]'
                scan.add('duplicate-object', 'annotations', index, record, detail)
                break
        else:
            others.append(position)


def find_crossings(scan: CocoScan) -> None:
    """Finds polygons that cross themselves; in one batch, since one by one is far slower."""
    points: list[np.ndarray] = []
    rings: list[np.ndarray] = []
    owners: list[int] = []
    for position, (_, record) in enumerate(scan.annotations):
        for part in polygons_of(record.get('segmentation')):
            corners = np.asarray(part, float).reshape(-1, 2)
            points.append(corners)
            rings.append(np.full(len(corners), len(owners)))
            owners.append(position)
    if not owners:
        return
    shapes = shapely.polygons(
        shapely.linearrings(np.concatenate(points), indices=np.concatenate(rings))
    )
    crossing = ~shapely.is_valid(shapes)
    for position in sorted({owners[ring] for ring in np.flatnonzero(crossing)}):
        index, record = scan.annotations[position]
        detail = 'has a polygon that crosses itself'
        scan.add('self-crossing', 'annotations', index, record, detail)


def _bounds(scan: CocoScan) -> tuple[list[int], np.ndarray]:
    """Positions of the objects with a mask, and the corners of its bounds. Shape: ``(N, 4)``."""
    owners, bounds = [], []
    for position, (_, record) in enumerate(scan.annotations):
        if record.get('segmentation') and (corners := mask_bounds(record['segmentation'])):
            owners.append(position)
            bounds.append(corners)
    return owners, np.array(bounds, float).reshape(-1, 4)


def _clipped(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.clip(corners, 0, np.tile(sizes, 2))


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of boxes; 1 for a pair without area. Shape: ``(N,)``."""
    # A point or a line has no area: a pixel around it makes it comparable.
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2]) + 1
    shared = np.maximum(sides, 0).prod(1)
    areas = [np.maximum(each[:, 2:] - each[:, :2] + 1, 0).prod(1) for each in (boxes, others)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)


def _add_for_file(
    scan: CocoScan, objects: Sequence[tuple[int, dict]], faulty: np.ndarray, detail: str
) -> None:
    place = f'{count_of(int(faulty.sum()), "annotation")} of {len(objects):,}'
    scan.issues.add('normalised-box', scan.file, place, detail)


def _size(scan: CocoScan, image_id: RecordId) -> tuple[float, float]:
    image = scan.images[image_id][1]
    return image['width'], image['height']


def _first(boxes: np.ndarray) -> str:
    return f'[{_listed(boxes[0])}]'


def _listed(values: Sequence[float] | np.ndarray) -> str:
    return ', '.join(f'{float(value):g}' for value in values)
