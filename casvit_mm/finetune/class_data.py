"""Prepares a checked dataset for classification: splits it, and lists its images."""

from collections.abc import Hashable
from pathlib import Path

from casvit.errors import DatasetError
from casvit.files import write_whole
from casvit.tables import IGNORE_INDEX, SPLITS
from casvit_mm.datasets.audit.classes.audit import ClassAudit
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.finetune.data import FOLDER, OwnData, OwnSplit, split_note, training_split
from casvit_mm.finetune.split import divided, split_evenly

Labelled = tuple[str, int]


def prepare_classes(check: ClassAudit, out: Path, val_share: float, seed: int) -> OwnData:
    """Prepares a dataset for classification.

    Every split becomes a list of its images with the index of their class, so that the classes
    have the same order in all of them. Images are never copied.

    Args:
        check: The check of the dataset, without errors.
        out: Work dir of the run; files are written to its subfolder ``data``.
        val_share: Share of the images for validation, if the dataset is unsplit.
        seed: Random seed of the split.

    Raises:
        DatasetError: There are no images to train on, they cannot be split, or the name of an
            image cannot be listed.
    """
    indices = {name: index for index, name in enumerate(check.classes)}
    images: dict[str, list[Labelled]] = {}
    folders: dict[str, Path] = {}
    for name, split in check.dataset.splits.items():
        folders[name] = split.folder
        images[name] = [(image.name, indices[split.class_of(image)]) for image in split.images]
    notes: list[str] = []
    whole = training_split(images)
    if not images.get('val'):
        images.pop('val', None)
        folder, content = folders[whole], images.pop(whole)
        labels: list[set[Hashable]] = [{label} for _, label in content]
        chosen = split_evenly(labels, val_share, seed, groups=[name for name, _ in content])
        for name, part in divided(content, chosen).items():
            images[name], folders[name] = part, folder
        notes.append(split_note(chosen, val_share, seed))
    own_splits = {}
    for name in [name for name in SPLITS if images.get(name)]:
        file = out / FOLDER / f'{name}.txt'
        write_whole(file, ''.join(map(_line, images[name])))
        own_splits[name] = OwnSplit(file.absolute(), folders[name].absolute(), len(images[name]))
    palette = [wheel(index) for index in range(len(check.classes))]
    return OwnData(list(check.classes), palette, own_splits, IGNORE_INDEX, notes)


def _line(image: Labelled) -> str:
    """A line of mmpretrain's lists, which are text without any escapes."""
    name, label = image
    if len(name.splitlines()) > 1 or name.encode('utf-8', 'replace').decode() != name:
        raise DatasetError(
            f'The name of the image {name!a} has characters that a list of images cannot hold: '
            'rename it.'
        )
    # Spaces at the start of a line are left out when it is read.
    return f'./{name} {label}\n'
