"""Finds the images that a COCO annotation file lists, wherever they lie."""

import os
import re
from pathlib import Path, PureWindowsPath
from typing import Any

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.sentences import count_of, need_folder, some
from casvit_mm.datasets.formats.dataset import UNSPLIT, split_of
from casvit_mm.datasets.formats.folders import Folder, folders, lies_in
from casvit_mm.datasets.similar_names import SimilarNames

LOOKED_FOR = 50


def locate_images(
    root: Path,
    file: Path,
    split: str,
    records: list[Any],
    listing: list[Folder],
    images: Path | None = None,
) -> tuple[Path, list[str]]:
    """Finds the folder that the file names of an annotation file are relative to.

    File names with Windows separators or paths of another machine are replaced in the records.

    Args:
        root: Folder of the dataset.
        file: The annotation file.
        split: Its split.
        records: Its list of images.
        listing: The folders of the dataset.
        images: The folder that the user names; looked for if None.

    Returns:
        The folder; and what was changed, in words.

    Raises:
        DatasetError: The named folder does not exist, or no image is found anywhere.
    """
    if images is not None:
        need_folder('image folder', str(images), 'Name the folder that holds the images.')
    records = [record for record in records if isinstance(record, dict)]
    changes = _take_from_addresses(records)
    records = [r for r in records if isinstance(r.get('file_name'), str) and r['file_name']]
    windows = [record for record in records if '\\' in record['file_name']]
    for record in windows:
        record['file_name'] = record['file_name'].replace('\\', '/')
    if windows:
        changes.append(
            f'{count_of(len(windows), "file name")} with Windows separators: read with / instead'
        )
    if not records:
        return images or file.parent, changes
    base = images or root
    candidates = [images] if images else _candidates(root, file, listing)
    sample = [r['file_name'] for r in records[:: max(1, len(records) // LOOKED_FOR)]]
    hits = [sum(_lies_in(folder, name, base) for name in sample) for folder in candidates]
    folder = candidates[hits.index(max(hits))]
    there: list[dict[str, Any]] = []
    lost: list[dict[str, Any]] = []
    for record in records:
        (there if _lies_in(folder, record['file_name'], base) else lost).append(record)
    if not lost:
        return folder, changes
    searched = list(folders(images)) if images else listing
    folder, number = _by_base_name(base, split, lost, there, folder, searched)
    if number:
        changes.append(
            f'{count_of(number, "path")} of images not there: found by their names without folders'
        )
    elif not there:
        # Names that differ only by case are reported one by one.
        similar = SimilarNames()
        near = [f for f in candidates if any(similar.find(f / name) for name in sample)]
        if not near:
            raise DatasetError(
                f'None of the images listed in {file} was found, such as {sample[0]!r}. Looked in '
                f'{some(map(str, candidates), 6)}. --images DIR names their folder.'
            )
        folder = near[0]
    return folder, changes


def _take_from_addresses(records: list[dict[str, Any]]) -> list[str]:
    """Names the images of LVIS, which lists addresses ``http://…/train2017/1.jpg`` alone."""
    taken = 0
    for record in records:
        address = record.get('coco_url')
        if 'file_name' not in record and isinstance(address, str) and '/' in address:
            record['file_name'] = '/'.join(address.split('/')[-2:])
            taken += 1
    return [f'{count_of(taken, "file name")} taken from addresses (coco_url)'] if taken else []


def _candidates(root: Path, file: Path, listing: list[Folder]) -> list[Path]:
    stem = re.sub(r'^(instances|annotations?|_annotations)[_.-]?', '', file.stem.split('.')[0])
    bases = [file.parent, *file.parent.parents]
    bases = [base for base in bases if base == root or root in base.parents]
    inner = ['', 'images', 'data', 'JPEGImages']
    for name in filter(None, (stem, file.stem, split_of(file.parent.name, file.stem))):
        inner += [name, f'images/{name}', f'{name}/images']
    likely = [base / name for base in bases for name in inner]
    likely = [folder for folder in likely if folder.is_dir()]
    # Other splits may have images of the same names.
    own = split_of(*file.relative_to(root).parts[:-1], file.stem)
    others = [
        folder.path
        for folder in listing
        if folder.images
        and (own == UNSPLIT or split_of(*folder.path.relative_to(root).parts) in (own, UNSPLIT))
    ]
    return list(dict.fromkeys([*likely, *others]))


def _lies_in(folder: Path, name: str, root: Path) -> bool:
    """Whether an image exists, in its folder or at least in the dataset."""
    path = folder / name
    return lies_in(path, folder, root) and is_file(path)


def _by_base_name(
    base: Path,
    split: str,
    lost: list[dict[str, Any]],
    found: list[dict[str, Any]],
    folder: Path,
    listing: list[Folder],
) -> tuple[Path, int]:
    """Finds images by their names without folders.

    Args:
        base: The folder that new names are relative to.
        split: The split; folders of other splits are not searched.
        lost: The records whose images were not found.
        found: The other records, whose names are relative to ``folder``.
        folder: The folder in which most images were found.
        listing: The folders to search.

    Returns:
        The folder that all names are relative to now, and the number of images found.
    """
    places: dict[str, list[Path]] = {}
    for each in listing:
        if split_of(*each.path.relative_to(base).parts) in (split, UNSPLIT) or split == UNSPLIT:
            for path in each.images:
                places.setdefault(path.name, []).append(path)
    number = 0
    for record in lost:
        matching = places.get(PureWindowsPath(record['file_name']).name, [])
        if len(matching) == 1:
            record['file_name'] = matching[0].relative_to(base).as_posix()
            number += 1
    if not number:
        return folder, 0
    for record in found:
        path = Path(os.path.normpath(folder / record['file_name']))
        record['file_name'] = path.relative_to(base).as_posix()
    return base, number
