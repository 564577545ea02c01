"""Pascal VOC: one XML file per image, in the layouts of VOC, Roboflow, CVAT and Label Studio."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from casvit.errors import DatasetError
from casvit.sentences import count_of
from casvit_mm.datasets.formats.dataset import ObjectDataset, listed_splits, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.objects import (
    Labelled,
    Objects,
    add,
    check_coordinates,
    read_splits,
    require_supervision,
)
from casvit_mm.datasets.issues import IssueList

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FORMAT = 'Pascal VOC'
IMAGE_FOLDERS = ('', '../JPEGImages', '../images', '../Images', 'images')


def find(listing: Iterable[Folder]) -> list[Folder]:
    """Finds the folders that hold VOC XML files."""
    return [
        folder
        for folder in listing
        if any(_is_annotation(path) for path in folder.ending_in('.xml')[:3])
    ]


def read(root: Path, listing: list[Folder]) -> ObjectDataset:
    """Reads a dataset.

    Args:
        root: Its folder.
        listing: The folders of XML files.

    Returns:
        The dataset.

    Raises:
        DatasetError: `supervision` is missing, or a folder has no images.
    """
    require_supervision()
    dataset = ObjectDataset(FORMAT, root, {})
    flagged: dict[str, int] = {}
    splits: dict[str, list[Labelled]] = {}
    for folder in listing:
        lists = listed_splits(folder.path.parent, 'Main', 'Segmentation')
        for labelled in _pairs(folder):
            name = lists.get(labelled.image.stem) if lists else None
            name = name or split_of(*folder.path.relative_to(root).parts)
            splits.setdefault(name, []).append(labelled)

    def reader(path: Path, size: tuple[int, int], issues: IssueList) -> Objects:
        return _read_file(path, size, issues, flagged)

    read_splits(dataset, splits, reader, listing[0].path)
    dataset.notes.append(
        'VOC files store no crowd flags and at most one polygon per object: objects with several '
        'polygons were split up when the files were written.'
    )
    for flag, count in flagged.items():
        dataset.notes.append(
            f'{count_of(count, "object")} with the flag {flag!r}, which is dropped: they are '
            'treated like any other object.'
        )
    return dataset


def _pairs(folder: Folder) -> list[Labelled]:
    """Pairs the images of a folder with their XML files; includes images without one."""
    files = {path.stem: path for path in folder.ending_in('.xml')}
    for place in IMAGE_FOLDERS:
        where = (folder.path / place).resolve()
        if not where.is_dir():
            continue
        names = tuple(sorted(entry.name for entry in where.iterdir() if entry.is_file()))
        # Not the resolved path, which may be outside the root if the root is a link.
        images = Folder(folder.path / place if place else folder.path, names).images
        stems = {image.stem for image in images}
        if stems & files.keys():
            missing = sorted(files.keys() - stems)
            pairs = [Labelled(_plain(p), files.get(p.stem)) for p in images]
            pairs += [Labelled(_plain(where / f'{stem}.jpg'), files[stem]) for stem in missing]
            return pairs
    raise DatasetError(
        f'No images were found for the XML files in {folder.path}: looked in the same folder, and '
        'in JPEGImages and images.'
    )


def _plain(path: Path) -> Path:
    """A path without ``..``."""
    parts: list[str] = []
    for part in path.parts:
        if part == '..' and parts:
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def _is_annotation(path: Path) -> bool:
    with path.open('rb') as file:
        return b'<annotation' in file.read(2048)


def _read_file(
    path: Path, size: tuple[int, int], issues: IssueList, flagged: dict[str, int]
) -> Objects:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse
    from supervision.dataset.formats.pascal_voc import detections_from_xml_obj

    objects = Objects()
    try:
        tree = parse(path).getroot()
    except (ParseError, DefusedXmlException, OSError, ValueError) as error:
        issues.add('broken-record', str(path), '', f'is not valid XML: {error}')
        return objects
    objects.size = _stated_size(tree)
    found = tree.findall('object')
    for element in found:
        tree.remove(element)
    with_masks = any(element.find('polygon') is not None for element in found)
    for index, element in enumerate(found):
        for flag in ('difficult', 'truncated', 'occluded'):
            if (element.findtext(flag) or '0').strip() not in ('0', ''):
                flagged[flag] = flagged.get(flag, 0) + 1
        tree.append(element)
        try:
            check_coordinates(_coordinates(element), size)
            detections, names = detections_from_xml_obj(tree, [], size, with_masks)
            has_polygon = element.find('polygon') is not None
            add(objects, detections, names[0], f'object[{index}]', with_mask=has_polygon)
        except (ValueError, IndexError, OverflowError) as error:
            issues.add('broken-record', str(path), f'object[{index}]', f'cannot be read: {error}')
        tree.remove(element)
    return objects


def _coordinates(element: 'Element') -> Iterator[str]:
    """Yields the coordinates of the box and polygon of an object, as text."""
    for kind in ('bndbox', 'polygon'):
        for shape in element.iter(kind):
            yield from (child.text or '' for child in shape)


def _stated_size(tree: 'Element') -> tuple[int, int] | None:
    try:
        width, height = (
            int(float(tree.findtext(f'size/{key}', ''))) for key in ('width', 'height')
        )
    except ValueError:
        return None
    # Some tools write zeros if they do not know the size.
    return (width, height) if width > 0 and height > 0 else None
