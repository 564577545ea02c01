"""A checked dataset made ready to train on: split, converted, and where its files are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit.errors import DatasetError
from casvit.files import write_whole
from casvit.sentences import count_of
from casvit.tables import IGNORE_INDEX
from casvit_mm.datasets.audit.masks import MaskAudit, read_labels
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.formats.dataset import SPLITS, UNSPLIT, ObjectSplit, Pair
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.finetune.split import split_evenly

Colour = tuple[int, int, int]
FOLDER = 'data'


@dataclass(frozen=True)
class OwnPart:
    """One part of a dataset, as a config names it.

    Attributes:
        ann_file: COCO annotation file, or list of pairs.
        images: Folder that its file names start from.
        size: Number of images.
    """

    ann_file: Path
    images: Path
    size: int


@dataclass(frozen=True)
class OwnData:
    """A dataset to train on.

    Attributes:
        classes: Names of its classes, in the order of its annotation files.
        palette: RGB colour of each class.
        parts: ``train`` and ``val``, and ``test`` where there is one.
        ignore_index: The value of semantic masks that does not count.
        notes: What was done to it.
    """

    classes: list[str]
    palette: list[Colour]
    parts: dict[str, OwnPart]
    ignore_index: int
    notes: list[str]


def prepare_objects(check: ObjectAudit, out: Path, val_share: float, seed: int) -> OwnData:
    """Makes a dataset of objects ready.

    COCO files that are split already are used where they are. Otherwise COCO files are written;
    images stay where they are in any case.

    Args:
        check: The check of the dataset, without errors.
        out: Folder of the run; files go into ``data`` in it.
        val_share: Part of the images to validate on, where the dataset is not split.
        seed: Start of the random numbers that split it.

    Raises:
        DatasetError: It cannot be split.
    """
    splits, notes = dict(check.dataset.splits), []
    if 'val' not in splits:
        whole = _one_part(splits)
        split = splits.pop(whole)
        content = split.content
        names = {c['id']: c['name'] for c in content['categories']}
        labels: dict[Any, set[str]] = {image['id']: set() for image in content['images']}
        for annotation in content['annotations']:
            labels[annotation['image_id']].add(names[annotation['category_id']])
        chosen = split_evenly(
            list(labels.values()),
            val_share,
            seed,
            groups=[i['file_name'] for i in content['images']],
        )
        wanted = dict(zip(labels, chosen, strict=True))
        for name, side in (('train', False), ('val', True)):
            part = {
                **content,
                'images': [i for i in content['images'] if wanted[i['id']] is side],
                'annotations': [a for a in content['annotations'] if wanted[a['image_id']] is side],
            }
            splits[name] = ObjectSplit(part, split.file, split.images)
        notes.append(_said_split(chosen, val_share, seed))
    parts = {}
    for name in [name for name in SPLITS if name in splits]:
        split = splits[name]
        file = split.file
        if not split.verbatim:
            file = _written(out / FOLDER / f'{name}.json', split.content)
        parts[name] = OwnPart(
            file.absolute(), split.images.absolute(), len(split.content['images'])
        )
    palette = [wheel(index) for index in range(len(check.classes))]
    return OwnData(list(check.classes), palette, parts, IGNORE_INDEX, notes)


def prepare_masks(check: MaskAudit, out: Path, val_share: float, seed: int) -> OwnData:
    """Makes a dataset of semantic masks ready.

    Maps in colours are written as index maps; images, and index maps, stay where they are.

    Args:
        check: The check of the dataset, without errors.
        out: Folder of the run; files go into ``data`` in it.
        val_share: Part of the images to validate on, where the dataset is not split.
        seed: Start of the random numbers that split it.

    Raises:
        DatasetError: It cannot be split.
    """
    splits, notes = dict(check.dataset.splits), []
    legend = check.dataset.legend
    folder = out / FOLDER
    if legend is not None:
        folder.mkdir(parents=True, exist_ok=True)
        splits = {
            name: [_as_index_map(pair, legend, check, folder) for pair in pairs]
            for name, pairs in splits.items()
        }
        notes.append(f'The semantic masks in colours are index maps in {folder / "label_maps"}.')
    if 'val' not in splits:
        pairs = splits.pop(_one_part(splits))
        labels = []
        for pair in pairs:
            values, _ = read_labels(pair.mask, None)
            labels.append(set(np.unique(values).tolist()) - {check.ignore_index, IGNORE_INDEX})
        chosen = split_evenly(labels, val_share, seed, groups=[str(p.image) for p in pairs])
        for name, side in (('train', False), ('val', True)):
            splits[name] = [p for p, val in zip(pairs, chosen, strict=True) if val is side]
        notes.append(_said_split(chosen, val_share, seed))
    parts = {}
    for name in [name for name in SPLITS if name in splits]:
        records = [
            dict(img_path=str(p.image.absolute()), seg_map_path=str(p.mask.absolute()))
            for p in splits[name]
        ]
        file = _written(folder / f'{name}.json', records)
        parts[name] = OwnPart(file.absolute(), check.dataset.root.absolute(), len(records))
    ignored = IGNORE_INDEX if legend is not None else check.ignore_index
    palette = check.dataset.palette
    return OwnData(list(check.classes), palette, parts, ignored, notes)


def _one_part(splits: dict[str, Any]) -> str:
    """The part that has to be split, where none is there to validate on."""
    for name in (UNSPLIT, 'train'):
        if name in splits:
            return name
    raise DatasetError(
        f'The dataset has the part {next(iter(splits))} alone: there is nothing to train on. Name '
        'the folder of its training images train.'
    )


def _said_split(chosen: Sequence[bool], share: float, seed: int) -> str:
    val = sum(chosen)
    return (
        f'There was no part to validate on: {count_of(len(chosen) - val, "image")} to train on, '
        f'{val:,} to validate on (share {share:g}, evenly by class, seed {seed}).'
    )


def _written(file: Path, content: Any) -> Path:
    write_whole(file, json.dumps(content))
    return file


def _as_index_map(pair: Pair, legend: dict[Colour, int], check: MaskAudit, folder: Path) -> Pair:
    labels, _ = read_labels(pair.mask, legend)
    inside = pair.mask.relative_to(check.dataset.root).with_suffix('.png')
    target = folder / 'label_maps' / inside
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(target)
    return Pair(pair.image, target)
