"""Detects the format of a dataset and reads it."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.sentences import need_folder, some
from casvit.tables import FORMATS
from casvit_mm.datasets.formats import coco, labelme, voc, yolo
from casvit_mm.datasets.formats import masks as mask_format
from casvit_mm.datasets.formats.dataset import MaskDataset, ObjectDataset
from casvit_mm.datasets.formats.folders import Folder, folders

# By value of --format.
OBJECT_FORMATS: dict[str, tuple[Callable[..., list[Any]], Callable[..., ObjectDataset]]] = {
    'coco': (coco.find, coco.read),
    'voc': (voc.find, lambda root, found, _: voc.read(root, found)),
    'yolo': (yolo.find, yolo.read),
    'labelme': (labelme.find, lambda root, found, _: labelme.read(root, found)),
}


def read_dataset(
    root: Path | str,
    task: str | None = None,
    *,
    kind: str | None = None,
    legend: Path | str | None = None,
) -> ObjectDataset | MaskDataset:
    """Reads a dataset in any supported format.

    Args:
        root: Its folder, or a COCO annotation file.
        task: One of :data:`casvit.tables.TASKS`; detected automatically if None.
        kind: One of :data:`casvit.tables.FORMATS`; detected automatically if None.
        legend: File with the colours or names of the classes of semantic masks.

    Returns:
        The dataset.

    Raises:
        DatasetError: No known format is found, more than one is, or none that fits the task; or
            the dataset cannot be read.
    """
    root = Path(root).expanduser()
    if root.is_file() and coco.json_kind(root) == 'coco':
        inside = root.parent.name.lower() in ('annotations', 'labels')
        base = root.parent.parent if inside else root.parent
        return coco.read(base, [root], list(folders(base)))
    need_folder('dataset', str(root), 'Name the folder that holds the images and annotations.')
    listing = list(folders(root))
    found = {name: find(listing) for name, (find, _) in OBJECT_FORMATS.items()}
    found = {name: files for name, files in found.items() if files}
    images, masks = mask_format.find(listing)
    if masks and images and not (kind is None and found and task != 'semantic'):
        found['masks'] = masks
    _check_choice(root, listing, found, task, kind)
    if kind is None:
        wanted = ('masks',) if task == 'semantic' else OBJECT_FORMATS if task else FORMATS
        kind = next(name for name in wanted if name in found)
    if kind == 'masks':
        return mask_format.read(root, images, masks, Path(legend) if legend else None)
    return OBJECT_FORMATS[kind][1](root, found[kind], listing)


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
    fitting = [name for name in found if (name == 'masks') == (task == 'semantic')]
    if task is None:
        fitting = list(found)
    if kind is None and not fitting:
        wanted = (
            'images with semantic masks were' if task == 'semantic' else 'dataset of objects was'
        )
        raise DatasetError(
            f'No {wanted if task else "dataset was"} found in {root}. {_what(listing, found)} '
            'Known are COCO, Pascal VOC, YOLO, LabelMe, and images with semantic masks (images/ '
            'and annotations/ with files of the same name).'
        )
    if kind is None and len(fitting) > 1:
        raise DatasetError(
            f'{root} holds annotations in more than one format: {", ".join(fitting)}. Choose one, '
            f'such as --format {fitting[0]}.'
        )
    if kind is not None and task is not None and (kind == 'masks') != (task == 'semantic'):
        raise DatasetError(f'--task {task} and --format {kind} do not go together.')


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
