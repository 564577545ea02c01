"""The images of the report, with their annotations and the issues in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from casvit.drawing.draw import draw_detections, draw_semantic_map
from casvit.drawing.palette import object_palette
from casvit.drawing.style import STYLE, Style
from casvit.files import is_file
from casvit.results import Colour, Detections, SemanticMap
from casvit.sentences import count_of
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.classes.audit import ClassAudit
from casvit_mm.datasets.audit.coco_scan import box_corners
from casvit_mm.datasets.audit.masks import MaskAudit, read_labels
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.decoding import quiet_decoders
from casvit_mm.datasets.formats.coco.file import RecordId, is_number
from casvit_mm.datasets.formats.dataset import Pair
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.mask_files import UnreadableMaskError
from casvit_mm.report.audit.cards import NAMED, Card, Finding, Shown, chosen, numbered
from casvit_mm.report.audit.drawn import (
    ERROR,
    LARGE,
    Frame,
    Highlight,
    View,
    encoded,
    highlight,
    margins_for,
    read_view,
    rectangle,
)
from casvit_mm.report.audit.object_shapes import drawn_shape, polygons_in, shape_of

# The split of an image, and its position in the list of images there.
Place = tuple[str, int]
# What a card says instead of showing an image, by the issue of the image.
HIDDEN = {
    'missing-picture': 'is missing',
    'unreadable-picture': 'cannot be read',
    'truncated-picture': 'is truncated',
}
# Issues of polygons: these are marked, and for other issues the box.
IN_POLYGONS = ('self-crossing', 'few-points', 'broken-mask', 'flat-polygon')
# Groups of pixels that are marked at most.
GROUPS = 12


def object_sheet(
    audit: ObjectAudit, number: int, seed: int, palette: Sequence[Colour], style: Style = STYLE
) -> list[Card]:
    """Draws images of a dataset of objects: those with issues first, then random others.

    Args:
        audit: Its audit.
        number: Number of random images.
        seed: Random seed that selects them.
        palette: RGB colour of each class.
        style: How to draw.

    Returns:
        A card for each image.
    """
    found = _issues_of_images(audit)
    everything = [
        (name, index) for name, scan in audit.scans.items() for index, _ in scan.images.values()
    ]
    places = chosen(found, everything, number, seed)
    objects = _objects_of(audit, places)
    palette = object_palette(palette, len(audit.classes))
    colours = dict(zip(audit.classes, palette, strict=True))
    with quiet_decoders():
        return [
            _object_card(
                audit, place, numbered(found.get(place, ())), objects.get(place), colours, style
            )
            for place in places
        ]


def mask_sheet(audit: MaskAudit, number: int, seed: int, style: Style = STYLE) -> list[Card]:
    """Draws images with their semantic masks: those with issues first, then random others.

    Args:
        audit: The audit of the dataset.
        number: Number of random images.
        seed: Random seed that selects them.
        style: How to draw.

    Returns:
        A card for each image.
    """
    splits = audit.dataset.splits
    everything = [(name, index) for name, pairs in splits.items() for index in range(len(pairs))]
    places: dict[str, list[Place]] = {}
    for name, index in everything:
        for path in splits[name][index].image, splits[name][index].mask:
            if path is not None:
                places.setdefault(str(path), []).append((name, index))
    found: dict[Place, list[Issue]] = {}
    for issue in audit.issues.issues:
        for place in places.get(issue.file, ())[:1]:
            found.setdefault(place, []).append(issue)
    with quiet_decoders():
        return [
            _mask_card(
                audit, name, splits[name][index], numbered(found.get((name, index), ())), style
            )
            for name, index in chosen(found, everything, number, seed)
        ]


def class_sheet(audit: ClassAudit, number: int, seed: int) -> list[Card]:
    """Shows images of a dataset for classification: those with issues first, then random others.

    Args:
        audit: Its audit.
        number: Number of random images.
        seed: Random seed that selects them.

    Returns:
        A card for each image.
    """
    splits = audit.dataset.splits
    images = {
        (name, index): image
        for name, split in splits.items()
        for index, image in enumerate((*split.images, *split.skipped))
    }
    wanted = {issue.file for issue in audit.issues.issues}
    places: dict[str, Place] = {}
    for (name, index), image in images.items():
        path = str(splits[name].path(image))
        if path in wanted:
            places.setdefault(path, (name, index))
    found: dict[Place, list[Issue]] = {}
    for issue in audit.issues.issues:
        if issue.file in places:
            found.setdefault(places[issue.file], []).append(issue)
    cards = []
    for place in chosen(found, images, number, seed):
        split, image = splits[place[0]], images[place]
        findings, contents = numbered(found.get(place, ())), split.class_of(image)
        view, missing = _view(split.path(image), findings)
        small = large = ''
        if view is not None:
            small, large = encoded(view, lambda frame: frame.canvas)
            contents += f', {view.width} x {view.height}'
        cards.append(Card(image.name, place[0], contents, small, large, missing, findings))
    return cards


def _issues_of_images(audit: ObjectAudit) -> dict[Place, list[Issue]]:
    """The issues of each image and of its annotations."""
    found: dict[Place, list[Issue]] = {}
    elsewhere = list(audit.dataset.issues.issues)
    for name, scan in audit.scans.items():
        content = audit.dataset.splits[name].content
        for issue in scan.issues.issues:
            index = -1
            records = content.get(issue.group) or ()
            record = records[issue.index] if 0 <= issue.index < len(records) else None
            if isinstance(record, dict) and issue.group == 'images':
                index = issue.index if isinstance(record.get('file_name'), str) else -1
            elif isinstance(record, dict) and issue.group == 'annotations':
                key = record.get('image_id')
                # An id of a wrong type may not be hashable.
                if isinstance(key, (int, float, str)) and key in scan.images:
                    index = scan.images[key][0]
            elif issue.index < 0:
                elsewhere.append(issue)
            if index >= 0:
                found.setdefault((name, index), []).append(issue)
    if elsewhere:
        stems: dict[str, list[Place]] = {}
        for name, scan in audit.scans.items():
            for index, record in scan.images.values():
                stems.setdefault(Path(record['file_name']).stem, []).append((name, index))
        for issue in elsewhere:
            # An annotation file of one image is named like it.
            places = stems.get(Path(issue.file).stem, ())
            if len(places) == 1:
                found.setdefault(places[0], []).append(issue)
    return found


def _objects_of(audit: ObjectAudit, places: Sequence[Place]) -> dict[Place, list[dict[str, Any]]]:
    """The usable annotations of those images whose record is usable."""
    objects: dict[Place, list[dict[str, Any]]] = {}
    wanted = set(places)
    for name, scan in audit.scans.items():
        own: dict[RecordId, list[dict[str, Any]]] = {
            key: objects.setdefault((name, index), [])
            for key, (index, _) in scan.images.items()
            if (name, index) in wanted
        }
        for _, record in scan.annotations if own else ():
            if record['image_id'] in own:
                own[record['image_id']].append(record)
    return objects


def _object_card(
    audit: ObjectAudit,
    place: Place,
    findings: list[Finding],
    objects: list[dict[str, Any]] | None,
    colours: Mapping[str, Colour],
    style: Style,
) -> Card:
    """The card of an image; ``objects`` is None if they are not known."""
    name, index = place
    split, scan = audit.dataset.splits[name], audit.scans[name]
    file = split.content['images'][index]['file_name']
    contents = [] if objects is None else [count_of(len(objects), 'object')]
    objects = objects or []
    labels = [scan.categories[one['category_id']] for one in objects]
    frequent = Counter(labels).most_common()
    classes = [Shown(label, colours[label], f'{count:,}') for label, count in frequent[:NAMED]]
    view, missing = _view(split.image(split.content['images'][index]), findings)
    if view is None:
        return Card(file, name, ', '.join(contents), '', '', missing, findings, classes)
    contents.append(f'{view.width} x {view.height}')
    marks = _highlights(split.content, findings)
    boxes = np.array([box_corners(one['bbox']) for one in objects], float).reshape(-1, 2, 2)
    shapes = [shape_of(one.get('segmentation'), view) for one in objects]
    # Only the classes in this image: a dataset may have a hundred thousand.
    number = {label: position for position, (label, _) in enumerate(frequent)}

    def paint(frame: Frame) -> np.ndarray:
        height, width = frame.canvas.shape[:2]
        # Clipped near the image: coordinates of a file may be too large for float32.
        limit = max(height, width)
        placed = np.clip(frame.places(boxes).reshape(-1, 4), -limit, 2 * limit)
        drawn = Detections(
            placed.astype(np.float32),
            np.ones(len(objects), np.float32),
            np.array([number[label] for label in labels], np.int64),
            [drawn_shape(shape, frame) for shape in shapes],
            classes=list(number),
            palette=[colours[label] for label in number],
            height=height,
            width=width,
        )
        canvas = draw_detections(drawn, frame.canvas, style=style, scored=False, scale=frame.scale)
        highlight(frame, canvas, marks, style)
        return canvas

    margins = margins_for((line for mark in marks for line in mark.lines), view.width, view.height)
    small, large = encoded(view, paint, margins)
    return Card(file, name, ', '.join(contents), small, large, '', findings, classes)


def _mask_card(
    audit: MaskAudit, name: str, pair: Pair, findings: list[Finding], style: Style
) -> Card:
    findings = [
        replace(one, subject='mask') if one.issue.file == str(pair.mask) else one
        for one in findings
    ]
    path = pair.image or pair.mask
    shown = str(path)
    if path is not None and path.is_relative_to(audit.dataset.root):
        shown = str(path.relative_to(audit.dataset.root))
    view, missing = (None, 'is missing') if pair.image is None else _view(pair.image, findings)
    if view is None:
        return Card(shown, name, '', missing=missing, findings=findings)
    contents = f'{view.width} x {view.height}'
    labels, outside = _labels(audit, pair.mask, (view.width, view.height))
    if labels is None:
        small, large = encoded(view, lambda frame: frame.canvas)
        return Card(shown, name, contents, small, large, '', findings)
    number = len(audit.classes)
    names = [*audit.classes, 'ignored', 'out of range']
    palette = audit.dataset.palette[:number]
    palette = [*palette, *map(wheel, range(len(palette), number)), (0, 0, 0), ERROR]
    numbers = np.bincount(labels.ravel(), minlength=len(names))
    classes = [
        Shown(names[index], palette[index], f'{100 * numbers[index] / labels.size:.0f} %')
        for index in np.argsort(-numbers, kind='stable')[:NAMED]
        if numbers[index]
    ]

    def paint(frame: Frame) -> np.ndarray:
        height, width = frame.canvas.shape[:2]
        resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
        drawn = SemanticMap(resized, classes=names, palette=palette, height=height, width=width)
        canvas = draw_semantic_map(drawn, frame.canvas, style=style, scale=frame.scale)
        highlight(frame, canvas, [Highlight(0, [corners]) for corners in outside], style)
        return canvas

    small, large = encoded(view, paint)
    return Card(shown, name, contents, small, large, '', findings, classes)


def _view(path: Path, findings: Sequence[Finding]) -> tuple[View | None, str]:
    """The image, or the reason why it is not shown."""
    if not is_file(path):
        return None, 'is missing'
    kinds = [finding.issue.kind for finding in findings]
    # Some versions of OpenCV decode truncated images.
    view = None if 'unreadable-picture' in kinds else read_view(path)
    reasons = [HIDDEN[kind] for kind in kinds if kind in HIDDEN]
    return view, '' if view is not None else [*reasons, 'cannot be shown'][0]


def _highlights(content: Mapping[str, Any], findings: Sequence[Finding]) -> list[Highlight]:
    """The boxes and polygons of the annotations with issues."""
    marks: dict[int, Highlight] = {}
    for finding in findings:
        if finding.issue.group != 'annotations' or finding.issue.index in marks:
            continue
        record = content['annotations'][finding.issue.index]
        box = record.get('bbox')
        lines = polygons_in(record.get('segmentation'))
        boxed = isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
        if boxed and (finding.issue.kind not in IN_POLYGONS or not lines):
            lines = [rectangle(*box_corners(box))]
        marks[finding.issue.index] = Highlight(finding.number, lines)
    return list(marks.values())


def _labels(
    audit: MaskAudit, path: Path | None, size: tuple[int, int]
) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """The class of every pixel, and rectangles around those that are out of range.

    After the classes come a number for ignored pixels and one for those out of range. Large masks
    are thinned out. None if the mask does not fit its image.
    """
    if path is None or not audit.classes:
        return None, []
    try:
        labels, _ = read_labels(path, audit.dataset.legend)
    except UnreadableMaskError:
        return None, []
    if labels.shape != size[::-1]:
        return None, []
    step = max(1, max(labels.shape) // LARGE)
    shown: np.ndarray = audit.indices(labels[::step, ::step]).astype(np.uint16)
    shown[shown == IGNORE_INDEX] = len(audit.classes)
    if path not in audit.outside:
        return shown, []
    outside = _out_of_range(audit, path, labels)
    shown[outside[::step, ::step]] = len(audit.classes) + 1
    return shown, _groups(outside)


def _out_of_range(audit: MaskAudit, path: Path, labels: np.ndarray) -> np.ndarray:
    """The pixels whose value is no class. Shape: ``(H, W)``, bool."""
    legend = audit.dataset.legend
    if legend is None:
        return ~np.isin(labels, list(audit.mapping))
    with Image.open(path) as image:
        codes = np.asarray(image.convert('RGB')).astype(np.int32) @ np.array([65536, 256, 1])
    return ~np.isin(codes, [r * 65536 + g * 256 + b for r, g, b in legend])


def _groups(pixels: np.ndarray) -> list[np.ndarray]:
    """Rectangles around groups of pixels, the largest first."""
    height, width = pixels.shape
    # On a coarse grid, which joins groups that are close to each other.
    step = max(1, max(height, width) // 96)
    rows, columns = np.nonzero(pixels)
    grid = np.zeros((height // step + 1, width // step + 1), np.uint8)
    grid[rows // step, columns // step] = 1
    _, owners, stats, _ = cv2.connectedComponentsWithStats(grid, connectivity=8)
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind='stable')[:GROUPS] + 1
    owner = owners[rows // step, columns // step]
    groups = []
    for group in order:
        x, y = columns[owner == group], rows[owner == group]
        groups.append(rectangle(x.min(), y.min(), x.max() + 1, y.max() + 1))
    return groups
