"""YOLO: one text file per image, in the layouts of Ultralytics, Roboflow, CVAT and Label Studio."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.names import read_lines
from casvit.sentences import short
from casvit.tables import SPLITS
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, ObjectSplit, split_of
from casvit_mm.datasets.formats.folders import IMAGES, Folder
from casvit_mm.datasets.formats.objects import (
    Labelled,
    Objects,
    add,
    as_coco,
    check_coordinates,
    require_supervision,
)
from casvit_mm.datasets.issues import IssueList

FORMAT = 'YOLO'
NAME_FILES = ('obj.names', 'classes.txt', 'classes.names')


def find(listing: Iterable[Folder]) -> list[Path]:
    """Finds the file that names the classes of a YOLO dataset, ``data.yaml`` or ``obj.names``."""
    listing = list(listing)
    described = [path for folder in listing for path in folder.ending_in('.yaml', '.yml')]
    described = [path for path in described if 'names' in _description(path)]
    if described:
        return described[:1]
    labelled = any(_is_label(path) for folder in listing for path in folder.ending_in('.txt')[:3])
    named = [f.path / name for f in listing for name in NAME_FILES if name in f.names]
    return named[:1] if labelled else []


def read(root: Path, files: list[Path], listing: list[Folder]) -> ObjectDataset:
    """Reads a dataset.

    Args:
        root: Its folder.
        files: The file that names its classes.
        listing: All its folders.

    Returns:
        The dataset.

    Raises:
        DatasetError: `supervision` is missing, the classes cannot be read, or there are no
            images.
    """
    require_supervision()
    description = _description(files[0]) if files[0].suffix in ('.yaml', '.yml') else {}
    names = _names(files[0], description)
    dataset = ObjectDataset(FORMAT, root, {})
    splits = _described_splits(files[0], description) or _found_splits(root, listing)
    keypoints = _keypoint_values(description)
    if keypoints:
        dataset.notes.append(f'{files[0]} has keypoints, which are dropped.')

    def reader(path: Path, size: tuple[int, int], issues: IssueList) -> Objects:
        return _read_file(path, size, issues, names, keypoints)

    classes = list(dict.fromkeys(names))
    for name, images in splits.items():
        labelled = [Labelled(path, _label_file(path)) for path in images]
        content = as_coco(labelled, root, reader, classes, dataset.issues)
        dataset.splits[name] = ObjectSplit(content, files[0], root)
    if not dataset.splits:
        raise DatasetError(f'No images were found for {files[0]}: expected images/ and labels/.')
    dataset.notes.append(
        'YOLO files store no crowd flags and only one polygon per object: objects with several '
        'polygons were split up, or joined by a line, when the files were written.'
    )
    return dataset


def _description(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(path: Path, description: Mapping[str, Any]) -> list[str]:
    names = description.get('names')
    if isinstance(names, Mapping):
        try:
            keys = sorted(names, key=int)
        except (TypeError, ValueError) as error:
            raise DatasetError(f'names in {path} has keys that are not numbers.') from error
        if list(map(int, keys)) != list(range(len(keys))):
            raise DatasetError(f'names in {path} is not numbered 0, 1, 2 …: {keys[:8]}.')
        return [str(names[key]) for key in keys]
    if isinstance(names, list):
        return list(map(str, names))
    if names is not None:
        raise DatasetError(f'names in {path} is neither a list nor a mapping.')
    return [line.strip() for line in read_lines(path) if line.strip()]


def _keypoint_values(description: Mapping[str, Any]) -> int:
    shape = description.get('kpt_shape')
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) for n in shape):
        return shape[0] * shape[1]
    return 0


def _described_splits(file: Path, description: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Images of each split in ``data.yaml``, whose paths often are those of another machine."""
    splits: dict[str, list[Path]] = {}
    base = Path(str(description.get('path') or ''))
    for key in SPLITS:
        entries = description.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                continue
            inner = [part for part in Path(entry).parts if part not in ('..', '.')]
            candidates = [
                file.parent / entry,
                file.parent / base / entry,
                base / entry,
                file.parent.joinpath(*inner),
            ]
            for place in candidates:
                if images := _images_of(place, file.parent):
                    splits.setdefault(key, []).extend(images)
                    break
    return splits


def _images_of(place: Path, base: Path) -> list[Path]:
    """The images of a folder, or those that a text file lists."""
    if place.is_dir():
        return sorted(p for p in place.rglob('*') if p.suffix.lower() in IMAGES)
    if is_file(place) and place.suffix == '.txt':
        lines = read_lines(place)
        return [base / line.strip() for line in lines if line.strip()]
    return []


def _found_splits(root: Path, listing: list[Folder]) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for folder in listing:
        if folder.images:
            name = split_of(*folder.path.relative_to(root).parts)
            splits.setdefault(name, []).extend(folder.images)
    return {name: splits[name] for name in (*SPLITS, UNSPLIT) if name in splits}


def _label_file(image: Path) -> Path | None:
    """The text file of an image: in labels/ if the image is in images/, or in the same folder."""
    parts = list(image.parts)
    places = [image.with_suffix('.txt')]
    for index in reversed(range(len(parts) - 1)):
        if parts[index].lower() == 'images':
            inside = [*parts[:index], 'labels', *parts[index + 1 :]]
            places.insert(0, Path(*inside).with_suffix('.txt'))
            break
    return next((place for place in places if is_file(place)), None)


def _is_label(path: Path) -> bool:
    """Whether a text file looks like boxes: at least five numbers per line."""
    try:
        line = path.read_text(encoding='utf-8')[:4096].splitlines()[0].split()
        return len(line) >= 5 and all(abs(float(value)) < 1e6 for value in line)
    except (OSError, UnicodeDecodeError, IndexError, ValueError):
        return False


def _read_file(
    path: Path, size: tuple[int, int], issues: IssueList, names: list[str], keypoints: int
) -> Objects:
    from supervision.dataset.formats.yolo import yolo_annotations_to_detections

    objects = Objects()
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        issues.add('broken-record', str(path), '', f'cannot be read: {error}')
        return objects
    for number, line in enumerate(lines, 1):
        values = line.split()
        if not values:
            continue
        where = f'line {number}'
        if keypoints and len(values) == 5 + keypoints:
            values = values[:5]
        has_polygon = len(values) > 6
        try:
            label = int(float(values[0]))
            check_coordinates(map(float, values[1:]), size, max(size))
            # The class is not passed on: it may be too large for NumPy's integers.
            found = yolo_annotations_to_detections(
                [' '.join(['0', *values[1:]])], size, has_polygon
            )
        except (ValueError, OverflowError) as error:
            issues.add('broken-record', str(path), where, f'cannot be read: {error}')
            continue
        if not 0 <= label < len(names):
            detail = f'has class {short(label)}, but only {len(names)} are named, from 0'
            issues.add('unknown-category', str(path), where, detail)
            continue
        add(objects, found, names[label], where, with_mask=has_polygon)
    return objects
