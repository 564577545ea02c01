"""Prepares a checked dataset for training: splits it, and converts its annotations."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.files import write_whole
from casvit.sentences import count_of
from casvit.tables import IGNORE_INDEX, SPLITS
from casvit_mm.datasets.audit.images import in_parallel
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.formats.dataset import UNSPLIT, ObjectSplit
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.datasets.mask_files import mask_content
from casvit_mm.finetune.split import divided, split_evenly

Colour = tuple[int, int, int]
FOLDER = 'data'


@dataclass(frozen=True)
class OwnSplit:
    """The files of one split of a dataset.

    Attributes:
        ann_file: COCO annotation file, list of pairs of image and mask, or list of images with the
            index of their class.
        images: Folder to which its file names are relative.
        size: Number of images.
    """

    ann_file: Path
    images: Path
    size: int


@dataclass(frozen=True)
class OwnData:
    """A dataset that is ready for training.

    Attributes:
        classes: Names of its classes, in the order of its annotation files.
        palette: RGB colour of each class.
        splits: ``train``, ``val``, and ``test`` if there is one.
        ignore_index: The pixel value of semantic masks that is ignored.
        notes: Sentences about what was done to the dataset.
        polygons: Whether all masks of training objects are polygons.
    """

    classes: list[str]
    palette: list[Colour]
    splits: dict[str, OwnSplit]
    ignore_index: int
    notes: list[str]
    polygons: bool = False


def prepare_objects(check: ObjectAudit, out: Path, val_share: float, seed: int) -> OwnData:
    """Prepares a dataset for detection or instance segmentation.

    COCO files with a validation split are used in place. Otherwise new COCO files are written.
    Images are never copied.

    Args:
        check: The check of the dataset, without errors.
        out: Work dir of the run; files are written to its subfolder ``data``.
        val_share: Share of the images for validation, if the dataset is unsplit.
        seed: Random seed of the split.

    Raises:
        DatasetError: There are no images to train on, or they cannot be split.
    """
    splits, notes = dict(check.dataset.splits), []
    training = training_split(splits)
    if 'val' not in splits:
        split = splits.pop(training)
        content = split.content
        names = {c['id']: c['name'] for c in content['categories']}
        labels: dict[Any, set[Hashable]] = {image['id']: set() for image in content['images']}
        for annotation in content['annotations']:
            labels[annotation['image_id']].add(names[annotation['category_id']])
        chosen = split_evenly(
            list(labels.values()),
            val_share,
            seed,
            groups=[i['file_name'] for i in content['images']],
        )
        wanted = dict(zip(labels, chosen, strict=True))
        images = divided(content['images'], chosen)
        of_annotations = [wanted[a['image_id']] for a in content['annotations']]
        for name, annotations in divided(content['annotations'], of_annotations).items():
            part = {**content, 'images': images[name], 'annotations': annotations}
            splits[name] = ObjectSplit(part, split.file, split.images)
        notes.append(split_note(chosen, val_share, seed))
    own_splits = {}
    for name in [name for name in SPLITS if name in splits]:
        split = splits[name]
        file = split.file
        if not split.verbatim:
            file = _written(out / FOLDER / f'{name}.json', split.content)
        own_splits[name] = OwnSplit(
            file.absolute(), split.images.absolute(), len(split.content['images'])
        )
    palette = [wheel(index) for index in range(len(check.classes))]
    polygons = all(
        isinstance(annotation.get('segmentation'), list) or annotation.get('iscrowd')
        for annotation in splits['train'].content['annotations']
    )
    return OwnData(list(check.classes), palette, own_splits, IGNORE_INDEX, notes, polygons)


def prepare_masks(check: MaskAudit, out: Path, val_share: float, seed: int) -> OwnData:
    """Prepares a dataset for semantic segmentation.

    Semantic masks that a run cannot read as they are (colours, other values than class indices,
    several channels) are written as class indices; others, and images, are used in place.

    Args:
        check: The check of the dataset, without errors.
        out: Work dir of the run; files are written to its subfolder ``data``.
        val_share: Share of the images for validation, if the dataset is unsplit.
        seed: Random seed of the split.

    Raises:
        DatasetError: There are no images to train on, or they cannot be split.
    """
    notes: list[str] = []
    splits = {
        name: [(pair.image, pair.mask) for pair in pairs if pair.image and pair.mask]
        for name, pairs in check.dataset.splits.items()
    }
    training = training_split(splits)
    folder = out / FOLDER
    if not check.verbatim:
        target = folder / 'label_maps'
        what = 'in colours ' if check.dataset.legend is not None else ''
        for name, pairs in splits.items():
            masks = in_parallel(lambda pair: _class_indices(pair[1], check, target), pairs)
            splits[name] = [(image, mask) for (image, _), mask in zip(pairs, masks, strict=True)]
        notes.append(f'The semantic masks {what}were converted to class indices in {target}.')
    ignored = check.ignore_index if check.verbatim else IGNORE_INDEX
    if 'val' not in splits:
        pairs = splits.pop(training)
        labels: list[set[Hashable]] = []
        for _, mask in pairs:
            labels.append(set[Hashable](mask_content(mask).counts) - {ignored, IGNORE_INDEX})
        chosen = split_evenly(labels, val_share, seed, groups=[str(image) for image, _ in pairs])
        splits |= divided(pairs, chosen)
        notes.append(split_note(chosen, val_share, seed))
    own_splits = {}
    for name in [name for name in SPLITS if name in splits]:
        records = [
            dict(img_path=str(image.absolute()), seg_map_path=str(mask.absolute()))
            for image, mask in splits[name]
        ]
        file = _written(folder / f'{name}.json', records)
        own_splits[name] = OwnSplit(file.absolute(), check.dataset.root.absolute(), len(records))
    palette = check.dataset.palette[: len(check.classes)]
    return OwnData(list(check.classes), palette, own_splits, ignored, notes)


def training_split(splits: Mapping[str, Any]) -> str:
    """The name of the split to train on, or to divide if there is no validation split.

    Args:
        splits: The splits by name.

    Raises:
        DatasetError: None of them is for training.
    """
    for name in (UNSPLIT, 'train'):
        if name in splits:
            return name
    raise DatasetError(
        f'The dataset has no images to train on, only those of {" and ".join(splits)}. Name the '
        'folder, list or annotation file of the training images train.'
    )


def split_note(chosen: Sequence[bool], share: float, seed: int) -> str:
    """Describes a split that was made, in a sentence.

    Args:
        chosen: Whether each image is for validation.
        share: The share that was asked for.
        seed: Random seed of the split.
    """
    val = sum(chosen)
    return (
        f'The dataset had no validation split: {count_of(len(chosen) - val, "image")} for '
        f'training, {val:,} for validation (share {share:g}, evenly by class, seed {seed}).'
    )


def _written(file: Path, content: Any) -> Path:
    write_whole(file, json.dumps(content))
    return file


def _class_indices(mask: Path, check: MaskAudit, folder: Path) -> Path:
    """Writes a mask as class indices; returns the new file."""
    root = check.dataset.root
    inside = mask.relative_to(root if mask.is_relative_to(root) else mask.anchor)
    # With its suffix: a.png and a.tif may both be there.
    target = folder / inside.with_name(
        f'{inside.name}.png' if inside.suffix != '.png' else inside.name
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    check.write_indices(mask, target)
    return target
