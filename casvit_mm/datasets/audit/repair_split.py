"""Plans the repaired copy of one split: which images are copied how, and the new records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from casvit_mm.datasets.audit.coco_scan import CocoScan, box_corners
from casvit_mm.datasets.audit.copies import (
    copy_as_stored,
    copy_scaled,
    copy_upright,
    copy_whole,
    free_name,
)
from casvit_mm.datasets.audit.images import inspect_image
from casvit_mm.datasets.audit.repair_options import DROP_IMAGE, Loss, RepairOptions
from casvit_mm.datasets.formats.coco.file import RecordId
from casvit_mm.datasets.formats.dataset import ObjectSplit
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.object_masks.coding import mask_area, mask_bounds, mask_issue
from casvit_mm.datasets.object_masks.polygons import is_polygon, polygons_of
from casvit_mm.datasets.object_masks.run_lengths import repaired_counts
from casvit_mm.datasets.places import locate
from casvit_mm.datasets.similar_names import SimilarNames

DROP_MASK = frozenset(('rle-size', 'broken-mask', 'few-points'))
DROP_BOX = frozenset(('nan-box', 'empty-box', 'outside-box'))
# A box that is wrong as a whole must not be cut to the image: it would look right.
WRONG_BOX = 'box-mask-mismatch'
Size = tuple[int, int]


@dataclass(frozen=True)
class PlannedImage:
    """An image to copy: its file, its new name, and the function that copies it."""

    source: Path
    name: str
    copy: Callable[[Path, Path], None]


class SplitRepair:
    """Plans the repair of one split of a dataset of objects; nothing is written.

    Args:
        scan: Its usable records and their issues.
        split: The split itself.
        root: Folder of the dataset; images outside it are not copied.
        classes: Names of the classes; categories without a name are added.
        masks: Whether objects need masks; see :func:`audit_objects`.
        options: Repairs that were asked for.
        unread: Annotation files that could not be read.

    Attributes:
        images: The images to copy.
        content: The new annotations, without categories.
        changes: What is changed, one sentence each.
        lost_images: The images that are left out.
        lost_objects: The objects that are left out.
    """

    def __init__(
        self,
        scan: CocoScan,
        split: ObjectSplit,
        root: Path,
        classes: list[str],
        masks: bool | None,
        options: RepairOptions,
        unread: Mapping[str, Issue],
    ) -> None:
        self.scan, self.split, self.root = scan, split, root
        self.classes, self.masks = classes, masks
        self.options, self.unread = options, unread
        self.changes: list[str] = []
        self.images: list[PlannedImage] = []
        records = split.content.get('annotations') or []
        self.lost_images = Loss('image', len(split.content['images']), {})
        self.lost_objects = Loss('object', len(records), {})
        self.issues: dict[tuple[str, int], dict[str, Issue]] = {}
        for issue in scan.issues.issues:
            self.issues.setdefault((issue.group, issue.index), {})[issue.kind] = issue
        self.keeps_boxes = 'normalised-box' in scan.issues.counts()
        self.content = self._run(records)

    def _run(self, records: list[Any]) -> dict[str, Any]:
        for issue in self.scan.issues.issues:
            if issue.group == 'categories' and issue.kind in ('broken-record', 'double-id'):
                self._log(issue, 'left out')
            elif issue.kind in ('double-name', 'class-order'):
                self._log(issue, 'classes with the same name become one class, in one order')
        images, keys = self._plan_images()
        annotations: list[dict[str, Any]] = []
        for index, record in enumerate(records):
            repaired = self._annotation(index, record, images, keys)
            if repaired is not None:
                annotations.append(dict(repaired, id=len(annotations) + 1))
        return dict(images=list(images.values()), annotations=annotations)

    def _log(self, issue: Issue, change: str) -> None:
        self.changes.append(f'{issue}: {change}')

    def _lose(self, loss: Loss, issue: Issue, change: str = 'left out') -> None:
        loss.add(issue.kind)
        self._log(issue, change)

    def _plan_images(self) -> tuple[dict[int, dict[str, Any]], dict[RecordId, int]]:
        """Records of the copied images by position, and the position for each old id."""
        images: dict[int, dict[str, Any]] = {}
        keys: dict[RecordId, int] = {}
        first: dict[str, int] = {}
        taken: set[str] = set()
        for (group, _), kinds in self.issues.items():
            issue = kinds.get('broken-record') or kinds.get('double-id')
            if group == 'images' and issue:
                self._lose(self.lost_images, issue)
        similar = SimilarNames()
        for index, record in self.scan.images.values():
            kinds = self.issues.get(('images', index), {})
            source = self.split.image(record)
            near = None
            if 'missing-picture' in kinds and self.split.holds(source, self.root):
                near = similar.find(source)
            if near is not None:
                self._log(kinds['missing-picture'], f'copied from {near.name}')
                kinds = {k: v for k, v in kinds.items() if k != 'missing-picture'}
                source = near
            dropped = next((kinds[kind] for kind in kinds if kind in DROP_IMAGE), None)
            # Without its annotations it would become a background image.
            files = record.get('annotation_files') or ()
            dropped = dropped or next((self.unread[f] for f in files if f in self.unread), None)
            if dropped is not None and dropped.kind == 'same-picture':
                # The same image stays in another split.
                self.lost_images.total -= 1
                self._log(dropped, 'left out here, with its objects')
                continue
            if dropped is not None:
                self._lose(self.lost_images, dropped, 'left out, with its objects')
                continue
            if 'listed-twice' in kinds and record['file_name'] in first:
                keys[record['id']] = first[record['file_name']]
                self._log(kinds['listed-twice'], 'its objects are moved to the first record')
                continue
            first[record['file_name']] = index
            wanted = Path(record['file_name'])
            name = free_name((wanted.with_name(near.name) if near else wanted).as_posix(), taken)
            copy, size = self._copier(source, record, kinds)
            self.images.append(PlannedImage(source, name, copy))
            keys[record['id']] = index
            images[index] = dict(id=len(images) + 1, file_name=name, width=size[0], height=size[1])
        return images, keys

    def _copier(
        self, source: Path, record: Mapping[str, Any], kinds: Mapping[str, Issue]
    ) -> tuple[Callable[[Path, Path], None], Size]:
        """The function that copies an image, and the width and height of the copy."""
        stated = (round(record['width']), round(record['height']))
        if issue := kinds.get('picture-size'):
            image = inspect_image(source)
            if image.orientation != 1 and stated == image.stored:
                self._log(issue, 'written as it was annotated, without the EXIF orientation')
                return copy_as_stored, stated
            width, height = image.upright
            self._log(issue, f'the stated size is now {width}x{height}')
            return copy_whole, image.upright
        if self.options.bits and inspect_image(source).peak is not None:
            self.changes.append(f'{source}: scaled from {self.options.bits} to 16 bits')
            return partial(copy_scaled, bits=self.options.bits), stated
        if issue := kinds.get('rotated-picture'):
            self._log(issue, 'written upright, without the EXIF orientation')
            return copy_upright, stated
        return copy_whole, stated

    def _annotation(
        self,
        index: int,
        record: Any,
        images: Mapping[int, dict[str, Any]],
        keys: Mapping[RecordId, int],
    ) -> dict[str, Any] | None:
        kinds = self.issues.get(('annotations', index), {})
        if 'broken-record' in kinds or 'unknown-image' in kinds:
            self._lose(self.lost_objects, kinds.get('broken-record') or kinds['unknown-image'])
            return None
        position = keys.get(record['image_id'])
        if position is None:
            # Its image is left out, which is counted and said there.
            self.lost_objects.total -= 1
            return None
        if 'duplicate-object' in kinds:
            self._log(kinds['duplicate-object'], 'left out, the first one is kept')
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
        segmentation, lost = self._mask(index, record, size)
        if lost is not None and self.masks:
            self._lose(self.lost_objects, lost)
            return None
        if lost is not None:
            self._lose(self.lost_objects, lost, 'its mask is left out')
        box = self._box(record, kinds, segmentation, size)
        if box is None:
            return None
        area = record.get('area')
        if 'no-area' in kinds or not isinstance(area, (int, float)) or area != area:
            area = mask_area(segmentation) or box[2] * box[3]
            if 'no-area' in kinds:
                self._log(kinds['no-area'], f'its area is now {area:g}')
        crowd = int(bool(record.get('iscrowd')))
        if 'crowd' in kinds and self.options.crowd_as_objects:
            self._log(kinds['crowd'], 'is an ordinary object now')
            crowd = 0
        elif 'crowd' in kinds:
            crowd = 1
        repaired = dict(
            image_id=image['id'],
            category_id=self.classes.index(name) + 1,
            bbox=box,
            area=area,
            iscrowd=crowd,
        )
        return repaired if segmentation is None else dict(repaired, segmentation=segmentation)

    def _mask(self, index: int, record: Mapping[str, Any], size: Size) -> tuple[Any, Issue | None]:
        """The usable part of a segmentation, and the issue for which nothing is usable."""
        kinds = self.issues.get(('annotations', index), {})
        segmentation = record.get('segmentation') or None
        if self.masks is False and mask_issue(segmentation, size):
            # Masks are not needed, and were not checked.
            return None, None
        if 'flat-polygon' in kinds or is_polygon(segmentation):
            if 'flat-polygon' in kinds:
                self._log(kinds['flat-polygon'], 'its polygon is wrapped in a list')
            return [segmentation], None
        issue = next((kinds[kind] for kind in kinds if kind in DROP_MASK), kinds.get('no-mask'))
        sized = isinstance(segmentation, Mapping) and 'size' in segmentation
        fits = isinstance(segmentation, Mapping) and segmentation.get('size') == [size[1], size[0]]
        if fits and issue and issue.kind == 'rle-size':
            # Only the stated image size was wrong.
            return segmentation, None
        if sized and not fits and issue is None:
            where = locate(self.scan.file, 'annotations', index, record)
            issue = Issue('rle-size', *where, 'has a mask of the stated size')
        if issue is None:
            return segmentation, None
        if issue.kind == 'broken-mask' and (repaired := repaired_counts(segmentation)):
            self._log(issue, 'its run lengths are written as plain text')
            return repaired, None
        if issue.kind == 'few-points' and (polygons := polygons_of(segmentation)):
            self._log(issue, 'that polygon is left out')
            return polygons, None
        return None, issue

    def _box(
        self,
        record: Mapping[str, Any],
        kinds: Mapping[str, Issue],
        segmentation: object,
        size: Size,
    ) -> list[float] | None:
        """A box inside the image; taken from the mask if asked for, or if the box is unusable."""
        from_mask = _mask_box(segmentation, size)
        if self.options.boxes_from_masks and from_mask:
            if WRONG_BOX in kinds:
                self._log(kinds[WRONG_BOX], f'its box is now {from_mask}')
            elif from_mask != [float(value) for value in record['bbox']]:
                place = f'{self.scan.file}: the box {record["bbox"]} of annotation {record["id"]!r}'
                self.changes.append(f'{place} is now {from_mask}, from its mask')
            return from_mask
        dropped = next((kinds[kind] for kind in kinds if kind in DROP_BOX), None)
        if dropped and dropped.kind == 'outside-box':
            x1, y1, x2, y2 = box_corners(record['bbox'])
            # Inside after all, if the stated image size was wrong.
            dropped = None if x1 < size[0] and y1 < size[1] and x2 > 0 and y2 > 0 else dropped
        if dropped is not None and from_mask:
            self._log(dropped, f'its box is now {from_mask}, from its mask')
            return from_mask
        if dropped is not None:
            self._lose(self.lost_objects, dropped)
            return None
        if WRONG_BOX in kinds or self.keeps_boxes:
            return list(record['bbox'])
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
            self.lost_objects.add('outside-box')
            return None
        return [x1, y1, x2 - x1, y2 - y1]


def _mask_box(segmentation: object, size: Size) -> list[float] | None:
    """The box around the part of a mask that is inside the image."""
    bounds = mask_bounds(segmentation)
    if bounds is None:
        return None
    x1, x2 = (min(max(value, 0), size[0]) for value in bounds[::2])
    y1, y2 = (min(max(value, 0), size[1]) for value in bounds[1::2])
    return [x1, y1, x2 - x1, y2 - y1] if x2 > x1 and y2 > y1 else None
