"""COCO annotation files, in the layouts of COCO, Roboflow, CVAT and Label Studio."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.sentences import some
from casvit_mm.datasets.formats.coco_file import load_coco
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectDataset, ObjectSplit, split_of
from casvit_mm.datasets.formats.folders import Folder

FORMAT = 'COCO'
# Other annotation files of COCO, in the same folder as the instances.
OTHER_KINDS = ('captions_', 'person_keypoints_', 'panoptic_', 'stuff_', 'image_info_')
SNIFFED = 65536
LOOKED_FOR = 50


def find(listing: Iterable[Folder]) -> list[Path]:
    """Finds COCO annotation files.

    Args:
        listing: The folders.

    Returns:
        The files, sorted by name.
    """
    found = []
    for folder in listing:
        kinds = {}
        for path in folder.ending_in('.json'):
            if not path.name.startswith(OTHER_KINDS):
                kinds[path] = json_kind(path)
                # LabelMe has one file per image: if the first few are LabelMe, so are the others.
                if len(kinds) >= 8 and set(kinds.values()) == {'labelme'}:
                    break
        found += [path for path, kind in kinds.items() if kind == 'coco']
    return sorted(found)


def json_kind(path: Path) -> str:
    """Guesses the format of a JSON file from its start: ``coco``, ``labelme`` or '' (unknown)."""
    try:
        with path.open('rb') as file:
            start = file.read(SNIFFED).decode('utf-8', 'ignore')
    except OSError:
        return ''
    keys = set(re.findall(r'"(images|annotations|categories|shapes|imagePath)"\s*:', start))
    if keys & {'shapes', 'imagePath'}:
        return 'labelme'
    if len(keys) >= 2:
        return 'coco'
    if keys and len(start) == SNIFFED:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return ''
        if isinstance(content, dict) and {'images', 'categories'} <= content.keys():
            return 'coco'
    return ''


def read(root: Path, files: list[Path]) -> ObjectDataset:
    """Reads the annotation files of a dataset.

    Args:
        root: Folder of the dataset.
        files: Its annotation files.

    Returns:
        The dataset.

    Raises:
        DatasetError: A file is not in COCO format, two files belong to the same split, or there are
            no images.
    """
    dataset = ObjectDataset(FORMAT, root, {})
    for path in files:
        name = split_of(*path.relative_to(root).parent.parts, path.stem)
        if name in dataset.splits:
            raise DatasetError(
                f'Two annotation files belong to the same split: {dataset.splits[name].file} and '
                f'{path}. Keep one of them, or put train and val into their names.'
            )
        content = load_coco(path)
        images = _image_folder(root, path, content['images'])
        dataset.splits[name] = ObjectSplit(content, path, images, verbatim=True)
        if dropped := _drop_supercategory(content):
            dataset.notes.append(
                f'{path}: left out the category {dropped!r}, which has no objects and only groups '
                'the others.'
            )
    if UNSPLIT in dataset.splits and len(dataset.splits) > 1:
        raise DatasetError(
            f'It is unclear which split {dataset.splits[UNSPLIT].file} is, and there are others: '
            f'{some(str(s.file) for s in dataset.splits.values())}. Put train, val or test into '
            'its name.'
        )
    return dataset


def _image_folder(root: Path, file: Path, images: list[Any]) -> Path:
    """The folder that the file names of an annotation file are relative to: where most exist."""
    for record in images:
        if isinstance(record, dict) and isinstance(record.get('file_name'), str):
            # Files from Windows have backslashes.
            record['file_name'] = record['file_name'].replace('\\', '/')
    names = [r['file_name'] for r in images if isinstance(r, dict) and _is_text(r.get('file_name'))]
    step = max(1, len(names) // LOOKED_FOR)
    sample = names[::step]
    candidates = _candidates(root, file)
    hits = [sum(is_file(folder / name) for name in sample) for folder in candidates]
    if sample and not any(hits):
        # Paths of the machine that the images were annotated on.
        short = {name: PureWindowsPath(name).name for name in names}
        hits = [sum(is_file(folder / short[name]) for name in sample) for folder in candidates]
        if any(hits):
            for record in images:
                if isinstance(record, dict) and record.get('file_name') in short:
                    record['file_name'] = short[record['file_name']]
    if sample and not any(hits):
        raise DatasetError(
            f'None of the images listed in {file} was found, such as {sample[0]!r}. Looked in '
            f'{some(map(str, candidates), 6)}.'
        )
    return candidates[hits.index(max(hits))] if hits else file.parent


def _candidates(root: Path, file: Path) -> list[Path]:
    stem = re.sub(r'^(instances|annotations?|_annotations)[_.-]?', '', file.stem.split('.')[0])
    bases = [file.parent, *file.parent.parents]
    bases = [base for base in bases if base == root or root in base.parents]
    inner = ['', 'images', 'data', 'JPEGImages']
    for name in filter(None, (stem, file.stem, split_of(file.parent.name, file.stem))):
        inner += [name, f'images/{name}', f'{name}/images']
    folders = [base / name for base in bases for name in inner]
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


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


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
