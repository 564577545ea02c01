"""Detects the format of a dataset and reads it."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.sentences import need_folder, some
from casvit.tables import FORMATS
from casvit_mm.datasets.formats import labelme, voc
from casvit_mm.datasets.formats import masks as mask_format
from casvit_mm.datasets.formats.class_layouts import (
    find_classes,
    read_classes_of,
    resembles_classes,
)
from casvit_mm.datasets.formats.classes import ClassDataset
from casvit_mm.datasets.formats.coco import read as coco
from casvit_mm.datasets.formats.dataset import MaskDataset, ObjectDataset
from casvit_mm.datasets.formats.folders import Folder, folders
from casvit_mm.datasets.formats.foreign import disclaim, readable
from casvit_mm.datasets.formats.foreign import read as read_foreign
from casvit_mm.datasets.formats.semantic import voc_objects
from casvit_mm.datasets.formats.settle import settle_splits
from casvit_mm.datasets.formats.yolo import read as yolo

# By value of --format.
OBJECT_FORMATS: dict[str, tuple[Callable[..., list[Any]], Callable[..., ObjectDataset]]] = {
    'coco': (coco.find, coco.read),
    'voc': (voc.find, voc.read),
    'yolo': (yolo.find, yolo.read),
    'labelme': (labelme.find, labelme.read),
}


def read_dataset(
    root: Path | str,
    task: str | None = None,
    *,
    kind: str | None = None,
    legend: Path | str | None = None,
    images: Path | str | None = None,
) -> ObjectDataset | MaskDataset:
    """Reads a dataset in any supported format.

    Args:
        root: Its folder, or a COCO annotation file.
        task: One of :data:`casvit.tables.TASKS`; detected automatically if None.
        kind: One of :data:`casvit.tables.FORMATS`; detected automatically if None.
        legend: File with the colours or names of the classes of semantic masks.
        images: Folder of the images that COCO files list; found automatically if None.

    Returns:
        The dataset.

    Raises:
        DatasetError: No known format is found, more than one is, or none that fits the task; or
            the dataset cannot be read.
    """
    return settle_splits(
        _read(
            Path(root).expanduser(),
            task,
            kind,
            Path(legend) if legend else None,
            Path(images).expanduser() if images else None,
        )
    )


def _read(
    root: Path, task: str | None, kind: str | None, legend: Path | None, images: Path | None
) -> ObjectDataset | MaskDataset:
    if root.is_file() and coco.json_kind(root) == 'coco':
        inside = root.parent.name.lower() in ('annotations', 'labels')
        base = root.parent.parent if inside else root.parent
        return coco.read(base, [root], list(folders(base)), images)
    need_folder('dataset', str(root), 'Name the folder that holds the images and annotations.')
    listing = list(folders(root))
    found = {name: find(listing) for name, (find, _) in OBJECT_FORMATS.items()}
    found = disclaim({name: files for name, files in found.items() if files}, listing)
    if task == 'instance' and kind in (None, 'voc') and (holders := voc_objects.find(listing)):
        return voc_objects.read(root, holders)
    image_files, masks = mask_format.find(listing)
    if masks and image_files and not (kind is None and found and task != 'semantic'):
        found['masks'] = masks
    # Images of masks may be part of another tool's format.
    only_masks = task is None and set(found) == {'masks'}
    if kind is None and (not _fitting(found, task) or (only_masks and readable(listing))):
        dataset = read_foreign(root, task, listing)
        if dataset is None:
            raise _not_found(root, listing, found, task)
        return dataset
    _check_choice(root, listing, found, task, kind)
    if kind is None:
        wanted = ('masks',) if task == 'semantic' else OBJECT_FORMATS if task else FORMATS
        kind = next(name for name in wanted if name in found)
    if kind == 'masks':
        return mask_format.read(root, image_files, masks, legend)
    if kind == 'coco':
        return coco.read(root, found[kind], listing, images)
    if images is not None:
        raise DatasetError(
            f'--images is for COCO files, which list images by name, but the format of {root} is '
            f'{kind}: leave it out.'
        )
    return OBJECT_FORMATS[kind][1](root, found[kind], listing)


def read_class_dataset(root: Path | str) -> ClassDataset:
    """Reads a dataset for classification: class folders, or lists of images.

    Args:
        root: Its folder.

    Returns:
        The dataset.

    Raises:
        DatasetError: There is none, or it cannot be read.
    """
    root = Path(root).expanduser()
    need_folder('dataset', str(root), 'Name the folder that holds the class folders.')
    listing = list(folders(root))
    base = find_classes(root, listing)
    if base is None:
        raise DatasetError(
            f'No images in class folders were found in {root}. {_what(listing, ())} Put the images '
            f'of every class into a folder of its name, such as {root / "train" / "cat"} and '
            f'{root / "val" / "cat"}.'
        )
    return read_classes_of(root, base, listing)


def _check_choice(
    root: Path,
    listing: list[Folder],
    found: Collection[str],
    task: str | None,
    kind: str | None,
) -> None:
    """Raises DatasetError unless exactly one format fits."""
    if kind is not None and kind not in found:
        raise DatasetError(f'There is no {kind} dataset in {root}. {_what(listing, found)}')
    fitting = _fitting(found, task)
    if kind is None and len(fitting) > 1:
        raise DatasetError(
            f'{root} holds annotations in more than one format: {", ".join(fitting)}. Choose one, '
            f'such as --format {fitting[0]}.'
        )
    if kind is not None and task is not None and (kind == 'masks') != (task == 'semantic'):
        raise DatasetError(f'--task {task} and --format {kind} do not go together.')


def _fitting(found: Collection[str], task: str | None) -> list[str]:
    return [name for name in found if task is None or (name == 'masks') == (task == 'semantic')]


def _not_found(
    root: Path, listing: list[Folder], found: Collection[str], task: str | None
) -> DatasetError:
    """The error for a folder that holds no known format, or none that fits the task."""
    wanted = 'images with semantic masks were' if task == 'semantic' else 'dataset of objects was'
    hint = '--masks-from-objects draws them. ' if found and task == 'semantic' else ''
    if not task and not found and resembles_classes(root, listing):
        hint = 'For images in class folders, add --task classification. '
    return DatasetError(
        f'No {wanted if task else "dataset was"} found in {root}. {_what(listing, found)} {hint}'
        'Known are COCO, Pascal VOC, YOLO, LabelMe, and images with semantic masks (images/ and '
        'annotations/ with files of the same name).'
    )


def _what(listing: list[Folder], found: Collection[str]) -> str:
    """Describes what a folder holds instead."""
    if found:
        return f'It holds {" and ".join(found)}.'
    endings: dict[str, int] = {}
    for folder in listing:
        for name in folder.names:
            ending = Path(name).suffix.lower() or name
            endings[ending] = endings.get(ending, 0) + 1
    if not endings:
        return 'It is empty.'
    most = sorted(endings, key=endings.__getitem__, reverse=True)
    return f'It holds files that end in {some(most, 5)}.'
