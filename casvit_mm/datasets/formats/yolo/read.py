"""Finds and reads YOLO datasets."""

from collections.abc import Iterable
from pathlib import Path

from casvit.errors import DatasetError
from casvit.sentences import count_of, short, some
from casvit_mm.datasets.formats.dataset import ObjectDataset
from casvit_mm.datasets.formats.folders import Folder
from casvit_mm.datasets.formats.objects import Classes, Images, Labelled, read_splits
from casvit_mm.datasets.formats.yolo.description import describe, described
from casvit_mm.datasets.formats.yolo.files import class_files, holds_labels, label_folders
from casvit_mm.datasets.formats.yolo.labels import LabelReader
from casvit_mm.datasets.formats.yolo.layout import Labels, match_labels, split_images
from casvit_mm.datasets.text_files import TextFiles

FORMAT = 'YOLO'


def find(listing: Iterable[Folder]) -> list[Path]:
    """Finds what describes a YOLO dataset.

    Returns:
        ``data.yaml``, or a file with the names of the classes, or a folder of label files that
        have the names of images; nothing if there is none of them.
    """
    listing = list(listing)
    if found := described(listing, TextFiles())[0]:
        return found[:1]
    stems = {path.stem for folder in listing for path in folder.images}
    if (named := class_files(listing)) and holds_labels(listing, stems):
        return named[:1]
    return [folder.path for folder in label_folders(listing, stems)][:1]


def read(root: Path, found: list[Path], listing: list[Folder]) -> ObjectDataset:
    """Reads a dataset.

    Args:
        root: Its folder.
        found: As returned by :func:`find`.
        listing: All its folders.

    Returns:
        The dataset.

    Raises:
        DatasetError: The classes cannot be read, or there are no images.
    """
    dataset = ObjectDataset(FORMAT, root, {})
    texts = TextFiles()
    description = describe(found[0], listing, texts)
    images = Images(root, listing)
    if not images.paths:
        raise DatasetError(
            f'{root} holds {found[0].name} of a YOLO dataset, but no images: expected images/ and '
            'labels/.'
        )
    for path, reason in described(listing, TextFiles())[1].items():
        dataset.issues.add('unreadable-annotation', str(path), '', reason)
    splits = split_images(dataset, description, listing, images, texts)
    labels = match_labels(images, listing)
    by_split = {
        name: [Labelled(p, (labels.of[p],) if p in labels.of else ()) for p in paths]
        for name, paths in splits.items()
    }
    names = description.names or None
    reader = LabelReader(names, description.keypoints, texts)
    order = None if names else _number
    read_splits(dataset, by_split, reader, Classes(names or ()), description.file, order)
    reader.report_pixels(dataset.issues)
    _report_labels(dataset, labels)
    if not names:
        dataset.notes.append(
            'No file names the classes: they are numbered. Write the names, one per line, into '
            f'{root / "classes.txt"}.'
        )
    if description.differing is not None:
        dataset.issues.add(
            'class-order',
            str(description.differing),
            '',
            f'names other classes than {description.file}: {short(names or [])}',
        )
    dataset.notes += [*texts.notes(), *reader.notes()]
    return dataset


def _report_labels(dataset: ObjectDataset, labels: Labels) -> None:
    for folder, count in labels.elsewhere.items():
        dataset.notes.append(
            f'{count_of(count, "label file")} read from {folder}, which is not called labels.'
        )
    if labels.second:
        dataset.notes.append(
            f'{count_of(len(labels.second), "label file")} left out: their images have others. '
            f'{some(map(str, labels.second))}.'
        )
    for path in labels.unused:
        dataset.issues.add('unused-annotation-file', str(path), '', 'belongs to no image')


def _number(name: str) -> int:
    return int(name.rpartition('_')[2])
