"""Writes a repaired copy of a dataset of objects, and lists every change."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycocotools import mask as rle

from casvit.names import name_issue, safe_names
from casvit_mm.datasets.audit.coco_records import (
    CocoScan,
    box_corners,
)
from casvit_mm.datasets.audit.copies import copy_as_stored, copy_upright, free_name, write_copy
from casvit_mm.datasets.audit.images import inspect_image
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.formats.coco_file import RecordId
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectSplit
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.object_masks.coding import encode_mask
from casvit_mm.datasets.object_masks.polygons import polygons_of
from casvit_mm.datasets.object_masks.run_lengths import repaired_counts
from casvit_mm.datasets.places import locate

DROP_IMAGE = frozenset(
    ('missing-picture', 'unreadable-picture', 'truncated-picture', 'same-picture')
)
DROP_MASK = frozenset(('rle-size', 'broken-mask', 'few-points'))
DROP_BOX = frozenset(('nan-box', 'empty-box', 'outside-box'))


def repair_objects(audit: ObjectAudit, out: Path) -> list[str]:
    """Writes a copy of a dataset of objects without its errors.

    Args:
        audit: Its audit, for which the images were read.
        out: A new or empty folder; it gets ``annotations/instances_<split>.json`` with the fields
            that COCO defines, the images of each split in a folder of that name, and
            ``changes.txt``.

    Returns:
        The changes, one per line.

    Raises:
        DatasetError: ``out`` is not empty, or cannot be written.
    """

    def write(folder: Path) -> list[str]:
        changes = [f'{issue}: not read' for issue in audit.dataset.issues.issues]
        (folder / 'annotations').mkdir()
        classes = list(audit.classes)
        contents = {}
        for name, split in audit.dataset.splits.items():
            target = 'train' if name == UNSPLIT else name
            repair = _Repair(audit.scans[name], split, classes, audit.masks)
            contents[target] = repair.run(folder / target)
            changes += repair.changes
        renamed = safe_names(classes)
        changes += describe_renames(classes, renamed)
        for name, content in contents.items():
            content['categories'] = [dict(id=i, name=n) for i, n in enumerate(renamed, 1)]
            file = folder / 'annotations' / f'instances_{name}.json'
            file.write_text(json.dumps(content, allow_nan=False), encoding='utf-8')
        return changes

    return write_copy(out, write)


def describe_renames(classes: list[str], renamed: list[str]) -> list[str]:
    """The renamed classes, one per line."""
    return [
        f'The class {old!a}, whose name {name_issue(old)}, is renamed to {new!r}.'
        for old, new in zip(classes, renamed, strict=True)
        if old != new
    ]


class _Repair:
    """Repairs one split of a dataset.

    Args:
        scan: Its usable records and their issues.
        split: The split itself.
        classes: Names of the classes; categories without a name are added.
        masks: Whether objects need masks.
    """

    def __init__(self, scan: CocoScan, split: ObjectSplit, classes: list[str], masks: bool) -> None:
        self.scan, self.split, self.classes, self.masks = scan, split, classes, masks
        self.changes: list[str] = []
        self.issues: dict[tuple[str, int], dict[str, Issue]] = {}
        for issue in scan.issues.issues:
            self.issues.setdefault((issue.group, issue.index), {})[issue.kind] = issue

    def run(self, folder: Path) -> dict[str, Any]:
        """Copies the images into a folder and returns the annotations."""
        folder.mkdir()
        for issue in self.scan.issues.issues:
            listed = issue.group in ('images', 'categories')
            if listed and issue.kind in ('broken-record', 'double-id'):
                self._log(issue, 'left out')
            elif issue.kind in ('double-name', 'class-order'):
                self._log(issue, 'classes with the same name become one class, in one order')
        images, keys = self._images(folder)
        annotations: list[dict[str, Any]] = []
        for index, record in enumerate(self.split.content.get('annotations') or []):
            repaired = self._annotation(index, record, images, keys)
            if repaired is not None:
                annotations.append(dict(repaired, id=len(annotations) + 1))
        return dict(images=list(images.values()), annotations=annotations)

    def _log(self, issue: Issue, change: str) -> None:
        self.changes.append(f'{issue}: {change}')

    def _images(self, folder: Path) -> tuple[dict[int, dict[str, Any]], dict[RecordId, int]]:
        """Records of the copied images by position, and the position for each old id."""
        images: dict[int, dict[str, Any]] = {}
        keys: dict[RecordId, int] = {}
        first: dict[str, int] = {}
        taken: set[str] = set()
        for (group, _), kinds in self.issues.items():
            if group == 'images' and (
                issue := kinds.get('broken-record') or kinds.get('double-id')
            ):
                self._log(issue, 'left out')
        for index, record in self.scan.images.values():
            kinds = self.issues.get(('images', index), {})
            source = self.split.image(record)
            dropped = next((kinds[kind] for kind in kinds if kind in DROP_IMAGE), None)
            if dropped is not None:
                self._log(dropped, 'left out, with its objects')
                continue
            if 'listed-twice' in kinds and record['file_name'] in first:
                keys[record['id']] = first[record['file_name']]
                self._log(kinds['listed-twice'], 'its objects are moved to the first record')
                continue
            first[record['file_name']] = index
            name = free_name(record['file_name'], taken)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            size = self._copy(source, folder / name, record, kinds)
            keys[record['id']] = index
            images[index] = dict(id=len(images) + 1, file_name=name, width=size[0], height=size[1])
        return images, keys

    def _copy(
        self,
        source: Path,
        target: Path,
        record: Mapping[str, Any],
        kinds: Mapping[str, Issue],
    ) -> tuple[int, int]:
        """Copies an image; returns its width and height."""
        stated = (round(record['width']), round(record['height']))
        if issue := kinds.get('picture-size'):
            image = inspect_image(source)
            if image.orientation != 1 and stated == image.stored:
                copy_as_stored(source, target)
                self._log(issue, 'written as it was annotated, without the EXIF orientation')
                return stated
            shutil.copy2(source, target)
            width, height = image.upright
            self._log(issue, f'the stated size is now {width}x{height}')
            return image.upright
        if issue := kinds.get('rotated-picture'):
            copy_upright(source, target)
            self._log(issue, 'written upright, without the EXIF orientation')
        else:
            shutil.copy2(source, target)
        return stated

    def _annotation(
        self,
        index: int,
        record: Any,
        images: Mapping[int, dict[str, Any]],
        keys: Mapping[RecordId, int],
    ) -> dict[str, Any] | None:
        kinds = self.issues.get(('annotations', index), {})
        if 'broken-record' in kinds or 'unknown-image' in kinds:
            issue = kinds.get('broken-record') or kinds['unknown-image']
            self._log(issue, 'left out')
            return None
        position = keys.get(record['image_id'])
        if position is None:
            return None
        image = images[position]
        name = self.scan.categories.get(record['category_id'])
        if name is None:
            name = f'unnamed_{record["category_id"]}'
            if name not in self.classes:
                self.classes.append(name)
            self._log(kinds['unknown-category'], f'assigned to the new class {name!r}')
        if 'double-id' in kinds:
            self._log(kinds['double-id'], 'given a new id')
        size = (image['width'], image['height'])
        segmentation, stays = self._mask(index, record, size)
        if not stays:
            return None
        box = self._box(record, kinds, segmentation, size)
        if box is None:
            return None
        area = record.get('area')
        if 'no-area' in kinds or not isinstance(area, (int, float)) or area != area:
            area = _mask_area(segmentation, size) or box[2] * box[3]
            if 'no-area' in kinds:
                self._log(kinds['no-area'], f'its area is now {area:g}')
        repaired = dict(
            image_id=image['id'],
            category_id=self.classes.index(name) + 1,
            bbox=box,
            area=area,
            iscrowd=int(bool(record.get('iscrowd'))),
        )
        return repaired if segmentation is None else dict(repaired, segmentation=segmentation)

    def _mask(
        self, index: int, record: Mapping[str, Any], size: tuple[int, int]
    ) -> tuple[Any, bool]:
        """The usable part of a segmentation, and whether the object is kept."""
        kinds = self.issues.get(('annotations', index), {})
        segmentation = record.get('segmentation') or None
        issue = next((kinds[kind] for kind in kinds if kind in DROP_MASK), kinds.get('no-mask'))
        sized = isinstance(segmentation, Mapping) and 'size' in segmentation
        fits = isinstance(segmentation, Mapping) and segmentation.get('size') == [size[1], size[0]]
        if fits and issue and issue.kind == 'rle-size':
            # Only the stated image size was wrong.
            return segmentation, True
        if sized and not fits and issue is None:
            where = locate(self.scan.file, 'annotations', index, record)
            issue = Issue('rle-size', *where, 'has a mask of the stated size')
        if issue is None:
            return segmentation, True
        if issue.kind == 'broken-mask' and (repaired := repaired_counts(segmentation)):
            self._log(issue, 'its run lengths are written as plain text')
            return repaired, True
        if issue.kind == 'few-points' and (polygons := polygons_of(segmentation)):
            self._log(issue, 'that polygon is left out')
            return polygons, True
        self._log(issue, 'left out' if self.masks else 'its mask is left out')
        return None, not self.masks

    def _box(
        self,
        record: Mapping[str, Any],
        kinds: Mapping[str, Issue],
        segmentation: object,
        size: tuple[int, int],
    ) -> list[float] | None:
        """A box inside the image; taken from the mask if the stated box is unusable."""
        dropped = next((kinds[kind] for kind in kinds if kind in DROP_BOX), None)
        if dropped and dropped.kind == 'outside-box':
            x1, y1, x2, y2 = box_corners(record['bbox'])
            # Inside after all, if the stated image size was wrong.
            dropped = None if x1 < size[0] and y1 < size[1] and x2 > 0 and y2 > 0 else dropped
        if dropped is not None:
            box = _mask_box(segmentation, size)
            self._log(
                dropped, 'left out' if box is None else f'its box is now {box}, from its mask'
            )
            return box
        x1, y1, x2, y2 = box_corners(record['bbox'])
        if issue := kinds.get('swapped-box'):
            self._log(issue, 'its corners are swapped back')
        x1, x2 = (min(max(value, 0), size[0]) for value in (x1, x2))
        y1, y2 = (min(max(value, 0), size[1]) for value in (y1, y2))
        if issue := kinds.get('partly-outside'):
            self._log(issue, 'clipped to the image')
        if x2 <= x1 or y2 <= y1:
            # Only if the stated image size was wrong.
            place = f'{self.scan.file}: the box {record["bbox"]} of annotation {record["id"]!r}'
            self.changes.append(f'{place} is outside the image: left out')
            return None
        return [x1, y1, x2 - x1, y2 - y1]


def _mask_area(segmentation: object, size: tuple[int, int]) -> float:
    encoded = encode_mask(segmentation, size)
    return 0.0 if encoded is None else float(rle.area(encoded))


def _mask_box(segmentation: object, size: tuple[int, int]) -> list[float] | None:
    encoded = encode_mask(segmentation, size)
    box = None if encoded is None else [float(value) for value in rle.toBbox(encoded)]
    return box if box and box[2] > 0 and box[3] > 0 else None
