"""The audit of a dataset with boxes and masks: its issues and statistics."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np

from casvit.files import is_file
from casvit.names import name_issue
from casvit_mm.datasets.audit.coco_records import correct_mask_sizes, scan_coco
from casvit_mm.datasets.audit.coco_scan import CocoScan, box_corners
from casvit_mm.datasets.audit.images import ImageFile, darkness, inspect_images
from casvit_mm.datasets.audit.near_duplicates import SplitImage, find_near_duplicates
from casvit_mm.datasets.formats.coco.file import RecordId
from casvit_mm.datasets.formats.dataset import ObjectDataset
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.places import locate
from casvit_mm.datasets.similar_names import SimilarNames

HEAT_CELLS = 32
OUTSIDE = ImageFile(
    'missing-picture', 'lies outside the dataset and is not read: --images DIR names its folder'
)


@dataclass
class ObjectFacts:
    """Statistics of one split of a dataset of objects.

    Attributes:
        images: Number of images.
        empty: Number of background images (without objects).
        objects: Number of objects by class, in the order of the classes.
        sizes: Widths and heights of the images in pixels. Shape: ``(images, 2)``.
        boxes: Widths and heights of the boxes in pixels. Shape: ``(objects, 2)``.
        frames: Width and height of the image of each box. Shape: ``(objects, 2)``.
        per_image: Number of objects in each image. Shape: ``(images,)``.
        heat: Number of boxes that cover each cell of an image. Shape: ``(32, 32)``.
    """

    images: int = 0
    empty: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    frames: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    per_image: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    heat: np.ndarray = field(default_factory=lambda: np.zeros((HEAT_CELLS, HEAT_CELLS)))


@dataclass
class ObjectAudit:
    """The audit of a dataset of objects.

    Attributes:
        dataset: The dataset.
        classes: Names of its classes.
        masks: Whether its objects need masks; see :func:`audit_objects`.
        facts: Statistics by split.
        scans: The usable records and the issues by split.
    """

    dataset: ObjectDataset
    classes: list[str]
    masks: bool | None
    facts: dict[str, ObjectFacts]
    scans: dict[str, CocoScan]

    @property
    def issues(self) -> IssueList:
        """All issues found."""
        found = IssueList(self.dataset.issues.issues)
        for scan in self.scans.values():
            found.extend(scan.issues)
        return found


def audit_objects(
    dataset: ObjectDataset,
    *,
    masks: bool | None = None,
    read_images: bool = True,
    near_duplicates: bool = False,
    progress: bool = True,
) -> ObjectAudit:
    """Audits a dataset of objects.

    Args:
        dataset: The dataset.
        masks: Whether objects need masks; if None, only those that there are have to be valid, and
            if False, not even those.
        read_images: Whether to open every image, instead of only checking that it exists.
        near_duplicates: Whether to compare the images that were opened across splits.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        The audit; nothing is raised for issues.

    Raises:
        MissingPackageError: Near-duplicates cannot be found without `imagehash`.
    """
    scans = {
        name: scan_coco(split.content, str(split.file), masks=masks)
        for name, split in dataset.splits.items()
    }
    classes = _check_classes(scans)
    _check_names(dataset, scans)
    _check_similar_names(scans, classes)
    for name, scan in scans.items():
        if name != 'test' or dataset.splits[name].content.get('annotations'):
            _check_learnable(scan, name, unread=bool(dataset.issues.issues))
    images = _check_images(dataset, scans, read_images=read_images, progress=progress)
    if near_duplicates:
        _add_near_duplicates(scans, images, progress=progress)
    facts = {name: gather_facts(scan, classes) for name, scan in scans.items()}
    _check_presence(facts, scans, classes)
    return ObjectAudit(dataset, classes, masks, facts, scans)


def gather_facts(scan: CocoScan, classes: Sequence[str]) -> ObjectFacts:
    """Computes the statistics of one split.

    Args:
        scan: Its usable records.
        classes: Names of the classes.
    """
    facts = ObjectFacts(images=len(scan.images), objects=dict.fromkeys(classes, 0))
    counts = Counter(record['image_id'] for _, record in scan.annotations)
    sizes = {key: (record['width'], record['height']) for key, (_, record) in scan.images.items()}
    facts.sizes = np.array(list(sizes.values()), float).reshape(-1, 2)
    facts.per_image = np.array([counts[key] for key in scan.images], int)
    facts.empty = int((facts.per_image == 0).sum())
    for _, record in scan.annotations:
        name = scan.categories[record['category_id']]
        facts.objects[name] = facts.objects.get(name, 0) + 1
    corners = np.array([box_corners(r['bbox']) for _, r in scan.annotations], float).reshape(-1, 4)
    frames = np.array([sizes[r['image_id']] for _, r in scan.annotations], float).reshape(-1, 2)
    facts.boxes = corners[:, 2:] - corners[:, :2]
    facts.frames = frames
    cells = np.clip(corners / np.tile(frames, 2) * HEAT_CELLS, 0, HEAT_CELLS)
    # The start and end of each box, cumulated, give the number of boxes over each cell.
    edges = np.zeros((HEAT_CELLS + 1, HEAT_CELLS + 1))
    x1, y1 = np.floor(cells[:, :2]).astype(int).clip(max=HEAT_CELLS - 1).T
    x2, y2 = np.maximum(np.ceil(cells[:, 2:]).astype(int).T, (x1 + 1, y1 + 1))
    for rows, columns, sign in ((y1, x1, 1), (y1, x2, -1), (y2, x1, -1), (y2, x2, 1)):
        np.add.at(edges, (rows, columns), sign)
    facts.heat = edges.cumsum(0).cumsum(1)[:-1, :-1]
    return facts


def _check_classes(scans: dict[str, CocoScan]) -> list[str]:
    """Compares the classes of the splits; returns those of the first, then those others add."""
    order: dict[str, None] = {}
    for scan in scans.values():
        names = dict.fromkeys(scan.categories.values())
        shared = [name for name in names if name in order]
        if shared != [name for name in order if name in names]:
            detail = f'has the classes in the order {shared[:8]}, another split {list(order)[:8]}'
            scan.issues.add('class-order', scan.file, 'categories', detail)
        order.update(names)
    return list(order)


def _check_names(dataset: ObjectDataset, scans: dict[str, CocoScan]) -> None:
    """Looks for class names that are not safe to write; reports each file and record once."""
    seen = set()
    for split, scan in scans.items():
        for index, record in enumerate(dataset.splits[split].content['categories']):
            name = record.get('name') if isinstance(record, dict) else None
            issue = name_issue(name) if isinstance(name, str) else ''
            where = locate(scan.file, 'categories', index, record)
            if issue and (where, name) not in seen:
                seen.add((where, name))
                detail = f'names a class {name!a}, which {issue}'
                scan.issues.add('unsafe-name', *where, detail, 'categories', index)


def _check_similar_names(scans: dict[str, CocoScan], classes: Sequence[str]) -> None:
    """Looks for class names that differ only by case."""
    same: dict[str, list[str]] = {}
    for name in classes:
        same.setdefault(name.casefold(), []).append(name)
    for names in same.values():
        if len(names) > 1:
            scan = next(s for s in scans.values() if names[1] in s.categories.values())
            detail = f'differs only by case from {names[0]!r}'
            scan.issues.add('similar-names', scan.file, f'category {names[1]!r}', detail)


def _check_learnable(scan: CocoScan, split: str, *, unread: bool) -> None:
    """Looks for a split without a single object that a run learns from or is evaluated on."""
    if scan.learnable:
        return
    kinds = scan.issues.counts()
    what = 'to be evaluated on' if split in ('val', 'test') else 'to learn from'
    reason = 'it has no annotations'
    if kinds.get('crowd', 0) >= max(1, len(scan.annotations)):
        reason = (
            f'all {kinds["crowd"]:,} have the crowd flag, as CVAT marks masks '
            '(--fix OUT --crowd-as-objects makes objects of them)'
        )
    elif scan.annotations or kinds or unread:
        reason = 'every annotation has one of the other issues'
    scan.issues.add('nothing-to-learn', scan.file, '', f'has no object {what}: {reason}')


def _check_presence(
    facts: dict[str, ObjectFacts], scans: dict[str, CocoScan], classes: Sequence[str]
) -> None:
    for name in classes:
        present = {split for split, fact in facts.items() if fact.objects.get(name)}
        for split, scan in scans.items():
            if not any(facts[split].objects.values()):
                # Said once for the split.
                continue
            where = (scan.file, f'category {name!r}')
            if not present:
                scan.issues.add('unused-class', *where, 'has no objects')
                break
            if split not in present:
                scan.issues.add('absent-class', *where, f'has no objects in {split}')


def _check_images(
    dataset: ObjectDataset,
    scans: dict[str, CocoScan],
    *,
    read_images: bool,
    progress: bool,
) -> list[SplitImage]:
    """Checks the image of every record; returns all of them, in the order of the records."""
    records = [
        (split, index, record)
        for split, scan in scans.items()
        for index, record in scan.images.values()
    ]
    paths = [dataset.splits[split].image(record) for split, _, record in records]
    # An annotation file of a stranger may list any file of this machine.
    inside = [
        dataset.splits[split].holds(path, dataset.root)
        for (split, _, _), path in zip(records, paths, strict=True)
    ]
    look = inspect_images if read_images else _exist
    images = look(list(compress(paths, inside)), progress=progress)
    similar = SimilarNames()
    first: dict[str, tuple[str, int, Path, str]] = {}
    peaks: list[float] = []
    sizes: dict[str, dict[RecordId, tuple[int, int]]] = {split: {} for split in scans}
    looked_at: list[SplitImage] = []
    for (split, index, record), path, own in zip(records, paths, inside, strict=True):
        image = next(images) if own else OUTSIDE
        looked_at.append(SplitImage(split, path, image))
        issues = scans[split].issues
        _, place = locate(scans[split].file, 'images', index, record)
        where = (str(path), place)
        if image.issue:
            reason = image.reason
            if image.issue == 'missing-picture' and own and (near := similar.find(path)):
                reason += f'; did you mean {near.name!r}?'
            issues.add(image.issue, *where, reason, 'images', index)
        if image.peak is not None:
            peaks.append(image.peak)
        if image.stored != (0, 0):
            _check_size(image, record, issues, where, index)
            if (record['width'], record['height']) != image.upright:
                sizes[split][record['id']] = image.upright
        content = image.digest or str(path.absolute())
        other = first.setdefault(content, (split, index, path, place))
        if other[0] != split:
            # The copy in the first split (training) is at fault, not the one that evaluates.
            detail = f'is also in {split}, as {path}'
            found = scans[other[0]].issues
            found.add('same-picture', str(other[2]), other[3], detail, 'images', other[1])
    for split, scan in scans.items():
        correct_mask_sizes(scan, sizes[split])
    if peaks and (reason := darkness(peaks)):
        next(iter(scans.values())).issues.add('dark-picture', str(dataset.root), '', reason)
    return looked_at


def _add_near_duplicates(
    scans: dict[str, CocoScan], images: Sequence[SplitImage], *, progress: bool
) -> None:
    records = [(scan, *entry) for scan in scans.values() for entry in scan.images.values()]
    for position, detail in find_near_duplicates(images, progress=progress):
        scan, index, record = records[position]
        where = (str(images[position].path), locate(scan.file, 'images', index, record)[1])
        scan.issues.add('near-duplicate', *where, detail, 'images', index)


def _exist(paths: Sequence[Path], *, progress: bool) -> Iterator[ImageFile]:
    """What is known about images without opening them."""
    for path in paths:
        yield ImageFile() if is_file(path) else ImageFile('missing-picture', 'does not exist')


def _check_size(
    image: ImageFile, record: dict, issues: IssueList, where: tuple[str, str], index: int
) -> None:
    stated = (record['width'], record['height'])
    turned = image.orientation != 1
    if stated == image.upright:
        if turned:
            detail = f'is rotated by EXIF orientation {image.orientation}'
            issues.add('rotated-picture', *where, detail, 'images', index)
        return
    detail = f'is {_size(image.upright)} pixels, but the record states {_size(stated)}'
    if turned and stated == image.stored:
        detail += f': EXIF orientation {image.orientation} rotates it when it is loaded'
    issues.add('picture-size', *where, detail, 'images', index)


def _size(size: tuple[float, float]) -> str:
    return f'{size[0]:g}x{size[1]:g}'
