"""COCO annotation files, in the layouts of COCO, LVIS, Roboflow, CVAT and Label Studio."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from casvit.encodings import decode
from casvit.errors import DatasetError
from casvit.sentences import count_of, some
from casvit_mm.datasets.formats.coco.complete import complete, strip_names
from casvit_mm.datasets.formats.coco.file import load_coco
from casvit_mm.datasets.formats.coco.images import locate_images
from casvit_mm.datasets.formats.coco.merge import merged
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, ObjectSplit, split_of
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.image_files import read_image_size

FORMAT = 'COCO'
# Annotation files of COCO without boxes, in the same folder as the instances.
WITHOUT_BOXES = ('captions_', 'panoptic_', 'stuff_', 'image_info_')
KEYPOINTS = 'person_keypoints_'
SNIFFED = 65536
UNREADABLE = 'unreadable'


def find(listing: Iterable[Folder]) -> list[Path]:
    """Finds COCO annotation files.

    Args:
        listing: The folders.

    Returns:
        The files, sorted by name.
    """
    found, unreadable = [], []
    for folder in listing:
        kinds: dict[Path, str] = {}
        for path in folder.ending_in('.json'):
            if not path.name.startswith(WITHOUT_BOXES):
                kinds[path] = json_kind(path)
                # LabelMe has one file per image: if the first few are LabelMe, so are the others.
                if len(kinds) >= 8 and set(kinds.values()) == {'labelme'}:
                    break
        coco = [path for path, kind in kinds.items() if kind == 'coco']
        unreadable += [path for path, kind in kinds.items() if kind == UNREADABLE]
        # COCO lists the same persons in both, the instances have masks for all of them.
        names = {path.name for path in coco}
        found += [
            path
            for path in coco
            if not path.name.startswith(KEYPOINTS)
            or path.name.replace(KEYPOINTS, 'instances_', 1) not in names
        ]
    # Among COCO files, a file that cannot be read is a missing split.
    return sorted(found + unreadable) if found else []


def json_kind(path: Path) -> str:
    """Guesses the format of a JSON file from its start.

    Returns:
        ``coco``, ``labelme``, :data:`UNREADABLE`, or '' if it is another.
    """
    try:
        with path.open('rb') as file:
            start = file.read(SNIFFED)
        # The start may end in the middle of a character.
        text = start.decode('utf-16', 'ignore') if b'\0' in start else start.decode('latin-1')
    except OSError:
        return UNREADABLE
    keys = set(re.findall(r'"(images|annotations|categories|shapes|imagePath)"\s*:', text))
    if keys & {'shapes', 'imagePath'}:
        return 'labelme'
    if len(keys) >= 2:
        return 'coco'
    if keys and len(start) == SNIFFED:
        try:
            content = json.loads(decode(path.read_bytes())[0])
        except (OSError, ValueError, RecursionError):
            return ''
        if isinstance(content, dict) and {'images', 'categories'} <= content.keys():
            return 'coco'
    return ''


def read(
    root: Path, files: list[Path], listing: list[Folder], images: Path | None = None
) -> ObjectDataset:
    """Reads the annotation files of a dataset; what a run needs and they lack is completed.

    Several files of one split are merged.

    Args:
        root: Folder of the dataset.
        files: Its annotation files.
        listing: Its folders.
        images: The folder that holds the images; found automatically if None.

    Returns:
        The dataset.

    Raises:
        DatasetError: A file is not in COCO format, it is unclear which split one belongs to, or
            there are no images.
    """
    dataset = ObjectDataset(FORMAT, root, {})
    by_split: dict[str, list[Path]] = {}
    for path in files:
        name = split_of(*path.relative_to(root).parent.parts, path.stem)
        by_split.setdefault(name, []).append(path)
    if UNSPLIT in by_split and len(by_split) > 1:
        unclear = by_split.pop(UNSPLIT)[0]
        others = some(str(path) for paths in by_split.values() for path in paths)
        raise DatasetError(
            f'It is unclear which split the annotation file {unclear} is for, beside {others}. '
            'Put train, val or test into its name, or move it out of the dataset.'
        )
    for name, paths in by_split.items():
        parts = [_read_file(dataset, name, path, listing, images) for path in paths]
        if len(parts) > 1:
            dataset.notes.append(
                f'{count_of(len(parts), "annotation file")} belong to the split {name} and are '
                f'merged: {some(map(str, paths), 5)}.'
            )
            parts = [merged(root, parts)]
        dataset.splits[name] = parts[0]
    return dataset


def _read_file(
    dataset: ObjectDataset, name: str, path: Path, listing: list[Folder], images: Path | None
) -> ObjectSplit:
    content, encoding = load_coco(path)
    changes = [f'the text is {encoding}'] if encoding else []
    folder, moved = locate_images(dataset.root, path, name, content['images'], listing, images)
    changes += moved

    def size_of(record: Mapping[str, Any]) -> tuple[int, int] | None:
        try:
            return read_image_size(folder / record['file_name']).upright
        except Exception:
            # Pillow's parsers raise all kinds of exceptions for a damaged file; the audit names it.
            return None

    changes += complete(content, size_of)
    changes += strip_names(content)
    dataset.changes += [f'{path}: {change}.' for change in changes]
    if dropped := _drop_supercategory(content):
        dataset.notes.append(
            f'{path}: left out the category {dropped!r}, which has no objects and only groups '
            'the others.'
        )
    keypoints = sum(
        isinstance(a, dict) and bool(a.get('keypoints')) for a in content.get('annotations') or ()
    )
    if keypoints:
        dataset.notes.append(f'{path}: left out the keypoints of {count_of(keypoints, "object")}.')
    return ObjectSplit(content, path, folder, verbatim=not changes)


def _drop_supercategory(content: dict[str, Any]) -> str:
    """Removes the category that Roboflow adds as the parent of all others; returns its name."""
    categories = [c for c in content['categories'] if isinstance(c, dict)]
    used = [a.get('category_id') for a in content.get('annotations') or [] if isinstance(a, dict)]
    parents = [c.get('supercategory') for c in categories]
    for category in categories:
        grouping = category.get('supercategory') in (None, 'none', '') and (
            category.get('name') in parents
        )
        if grouping and len(categories) > 1 and category.get('id') not in used:
            content['categories'].remove(category)
            return str(category.get('name'))
    return ''
