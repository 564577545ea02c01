"""Pascal VOC: one XML file per image, in the layouts of VOC, Roboflow, CVAT and LabelMe."""

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from casvit.encodings import decode
from casvit.errors import DatasetError
from casvit.extras import how_to_install
from casvit.sentences import count_of, some
from casvit_mm.datasets.formats.dataset import ObjectDataset, listed_splits
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.objects import (
    Classes,
    FoundObject,
    Images,
    Labelled,
    Objects,
    read_splits,
)
from casvit_mm.datasets.issues import IssueList
from casvit_mm.datasets.object_masks.polygons import polygon_bounds
from casvit_mm.datasets.object_masks.shapes import (
    Polygon,
    check_near,
    numbers_of,
    rotated,
)
from casvit_mm.datasets.text_files import TextFiles

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FORMAT = 'Pascal VOC'
UNSET = ('', '0', 'false', 'no', 'unspecified')
FLAGS = ('difficult', 'truncated', 'occluded')
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
SNIFFED = 2048
# Files of each folder that are looked into; others may lie among the annotations.
LOOKED_INTO = 50
# An element takes some twenty times its size in memory.
LARGEST = 2**25
LARGEST_SIDE = 2**31
# A box that is rounded to whole pixels, or counts from 1, agrees with its polygon.
ROUNDED = 2
# Python has other codecs too, some of which are no text, and some very slow.
ENCODINGS = re.compile(
    r'ascii|utf-?(8|16|32).*|iso8859-\d+|cp\d+|gb2312|gbk|gb18030|big5\w*|euc_\w+|shift_jis\w*|'
    r'koi8-[rut]|mac-\w+|tis-620'
)


def find(listing: Iterable[Folder]) -> list[Folder]:
    """Finds the folders that hold VOC XML files."""
    return [
        folder
        for folder in listing
        if any(map(is_annotation, folder.ending_in('.xml')[:LOOKED_INTO]))
    ]


def is_annotation(path: Path) -> bool:
    """Whether a file looks like XML with the root element of VOC."""
    try:
        with path.open('rb') as file:
            start = file.read(SNIFFED).replace(b'\0', b'')
    except OSError:
        return False
    return bool(re.search(rb'<annotation[\s/>]', start))


def read(root: Path, found: list[Folder], listing: list[Folder]) -> ObjectDataset:
    """Reads a dataset.

    Args:
        root: Its folder.
        found: The folders of XML files.
        listing: All its folders.

    Returns:
        The dataset.

    Raises:
        DatasetError: defusedxml is missing, or the XML files belong to no images.
    """
    try:
        import defusedxml  # noqa: F401
    except ImportError as error:
        raise DatasetError(
            'Reading Pascal VOC datasets needs defusedxml, which is not installed: '
            f'{how_to_install("defusedxml")}.'
        ) from error
    dataset = ObjectDataset(FORMAT, root, {})
    reader = _Reader()
    labelled = _pairs(root, found, listing, dataset, reader.texts)
    splits = _splits(root, listing, labelled, dataset)
    read_splits(dataset, splits, reader, Classes(), found[0].path, order=str)
    dataset.notes += reader.notes()
    return dataset


def _pairs(
    root: Path,
    found: list[Folder],
    listing: list[Folder],
    dataset: ObjectDataset,
    texts: TextFiles,
) -> list[Labelled]:
    """Pairs the images with their XML files; includes images without one beside them."""
    images = Images(root, listing)
    files: dict[Path, list[Path]] = {}
    missing: dict[Path, str] = {}
    others = 0
    for folder in found:
        for path in folder.ending_in('.xml'):
            image = images.closest(path.stem, folder.path)
            if image is None and not is_annotation(path):
                others += 1
                continue
            named = '' if image else _file_name(path, texts)
            image = image or (images.closest(named, folder.path) if named else None)
            if image is None:
                missing[path] = named or f'{path.stem}.jpg'
            else:
                files.setdefault(image, []).append(path)
    if not files:
        raise _without_images(root, found, images, missing)
    if others:
        dataset.notes.append(f'{count_of(others, "XML file")} left out: not VOC annotations.')
    used = Counter(image.parent for image in files)
    pairs = [
        Labelled(path, tuple(files.get(path, ()))) for path in images.paths if path.parent in used
    ]
    idle = Counter(path.parent for path in images.paths if path.parent not in used)
    for place, count in idle.items():
        dataset.notes.append(
            f'{count_of(count, "image")} in {place} left out: no XML file belongs to that folder.'
        )
    usual = used.most_common(1)[0][0]
    return pairs + [Labelled(usual / name, (path,)) for path, name in missing.items()]


def _without_images(
    root: Path, found: list[Folder], images: Images, missing: dict[Path, str]
) -> DatasetError:
    path, name = next(iter(missing.items()), (found[0].path, ''))
    what = f'{count_of(len(missing), "XML file")} of Pascal VOC, such as {path}'
    if not images.paths:
        return DatasetError(
            f'{root} holds {what}, but no images: put them into a folder JPEGImages or images.'
        )
    there = some((str(path.relative_to(root)) for path in images.paths), 2)
    return DatasetError(
        f'{root} holds {what}, but none belongs to an image: that one names {name!r}, and the '
        f'images are {there}. Image and XML file need the same name.'
    )


def _splits(
    root: Path, listing: list[Folder], labelled: list[Labelled], dataset: ObjectDataset
) -> dict[str, list[Labelled]]:
    """Sorts images into splits: by the lists in ``ImageSets``, or else by their folders."""
    images = Images(root, ())
    bases = {folder.path.parent for folder in listing if folder.path.name == 'ImageSets'}
    lists = {base: listed_splits(base, 'Main', 'Segmentation') for base in bases}
    splits: dict[str, list[Labelled]] = {}
    unlisted: dict[Path, int] = {}
    for one in labelled:
        base = next((parent for parent in one.image.parents if lists.get(parent)), None)
        if base is None:
            name = images.split(one.image, *one.files)
        elif one.image.stem in lists[base]:
            name = lists[base][one.image.stem]
        else:
            unlisted[base] = unlisted.get(base, 0) + 1
            continue
        splits.setdefault(name, []).append(one)
    for base, count in unlisted.items():
        dataset.notes.append(
            f'{count_of(count, "image")} left out: in no list in {base}/ImageSets.'
        )
    stems = {one.image.stem for one in labelled}
    for base, listed in lists.items():
        if gone := sorted(listed.keys() - stems):
            dataset.notes.append(
                f'{count_of(len(gone), "name")} in {base}/ImageSets without an image: {some(gone)}.'
            )
    return splits


def _file_name(path: Path, texts: TextFiles) -> str:
    """The name of its image in an XML file; '' if there is none."""
    try:
        text = _xml_text(path, texts)
    except ValueError:
        return ''
    found = re.search(r'<filename>\s*([^<]*?)\s*</filename>', text)
    name = PureWindowsPath(found[1]).name if found else ''
    return name if '\0' not in name else ''


def _xml_text(path: Path, texts: TextFiles) -> str:
    """Reads an XML file in the encoding that it declares, or else in the one that fits."""
    content = texts.content(path, LARGEST)
    declared = re.match(rb'\s*<\?xml[^>]*?encoding\s*=\s*["\']([\w.:-]+)["\']', content[:SNIFFED])
    if declared:
        try:
            known = codecs.lookup(declared[1].decode('ascii'))
            if ENCODINGS.fullmatch(known.name):
                text = content.decode(known.name)
                texts.remember(path, '' if known.name in ('utf-8', 'ascii') else known.name.upper())
                return text
        except (LookupError, UnicodeDecodeError):
            pass
    text, encoding = decode(content)
    texts.remember(path, encoding)
    return text


class _Reader:
    """Reads XML files, and counts what it leaves out or converts."""

    def __init__(self) -> None:
        self.texts = TextFiles()
        self._flagged: Counter[str] = Counter()
        self._rotated = 0

    def notes(self) -> list[str]:
        found = self.texts.notes()
        found.append(
            'VOC files store no crowd flags and at most one polygon per object: objects with '
            'several polygons were split up when the files were written.'
        )
        found += [
            f'{count_of(count, "object")} with the flag {flag!r}, which is dropped: they are '
            'treated like any other object.'
            for flag, count in self._flagged.items()
        ]
        if self._rotated:
            number = count_of(self._rotated, 'object')
            found.append(f'{number} with a rotated box, which is read as a polygon.')
        return found

    def __call__(self, path: Path, size: tuple[int, int], issues: IssueList) -> Objects:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring

        objects = Objects()
        try:
            tree = fromstring(_xml_text(path, self.texts))
        except ParseError as error:
            issues.add('unreadable-annotation', str(path), '', f'is not valid XML: {error}')
            return objects
        except DefusedXmlException as error:
            detail = f'defines entities, which may be an attack, and is not read: {error!r}'
            issues.add('unreadable-annotation', str(path), '', detail)
            return objects
        except ValueError as error:
            issues.add('unreadable-annotation', str(path), '', str(error))
            return objects
        if tree.tag != 'annotation':
            detail = f'is not a VOC file: its root element is {tree.tag!r}, not annotation'
            issues.add('unreadable-annotation', str(path), '', detail)
            return objects
        objects.size = _stated_size(tree)
        for index, element in enumerate(tree.findall('object')):
            place = f'object[{index}]'
            try:
                objects.found.append(self._object(element, place, size))
            except ValueError as error:
                issues.add('unreadable-annotation', str(path), place, str(error))
        return objects

    def _object(self, element: 'Element', place: str, size: tuple[int, int]) -> FoundObject:
        name = element.findtext('name') or ''
        if not name.strip():
            raise ValueError('has no class name')
        polygons = [_polygon(child) for child in element.findall('polygon')]
        turned = element.find('robndbox')
        if turned is not None:
            values = numbers_of(turned.findtext(key) for key in ('cx', 'cy', 'w', 'h', 'angle'))
            polygons.append(rotated(*values))
        for polygon in polygons:
            check_near(polygon, size)
        corners = _corners(element)
        if corners:
            check_near(corners, size)
        elif not polygons:
            raise ValueError('has no bndbox')
        for flag in FLAGS:
            if (element.findtext(flag) or '0').strip().lower() not in UNSET:
                self._flagged[flag] += 1
        self._rotated += turned is not None
        if polygons and corners and _agree(corners, polygon_bounds(polygons)):
            corners = []
        box = [*corners[:2], corners[2] - corners[0], corners[3] - corners[1]] if corners else None
        return FoundObject(name, place, box, polygons or None)


def _corners(element: 'Element') -> list[float]:
    """Ordered corners of the box of an object; empty if it has none."""
    box = element.find('bndbox')
    if box is None:
        return []
    for key in CORNERS:
        if box.find(key) is None:
            raise ValueError(f'has a bndbox without {key}')
    x1, y1, x2, y2 = numbers_of((box.findtext(key) or '').strip() for key in CORNERS)
    return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]


def _agree(box: Iterable[float], other: Iterable[float]) -> bool:
    return all(abs(a - b) <= ROUNDED for a, b in zip(box, other, strict=True))


def _polygon(element: 'Element') -> Polygon:
    """The corners of a polygon: ``x1, y1, x2, y2 …``."""
    values = list(_coordinates(element))
    if len(values) < 6:
        raise ValueError(f'has a polygon of {count_of(len(values) // 2, "point")}')
    return numbers_of(values)


def _coordinates(element: 'Element') -> Iterator[str]:
    points: dict[str, dict[str, str]] = {}
    for child in element:
        if found := re.fullmatch(r'([xy])(\d+)', child.tag):
            points.setdefault(found[2], {})[found[1]] = child.text or ''
    for number, point in points.items():
        if point.keys() != {'x', 'y'}:
            raise ValueError(f'has a polygon whose point {number} lacks x or y')
        yield from (point['x'].strip(), point['y'].strip())


def _stated_size(tree: 'Element') -> tuple[int, int] | None:
    try:
        width, height = numbers_of(tree.findtext(f'size/{key}') for key in ('width', 'height'))
    except ValueError:
        return None
    # Some tools write zeros if they do not know the size.
    stated = 1 <= width < LARGEST_SIDE and 1 <= height < LARGEST_SIDE
    return (int(width), int(height)) if stated else None
