"""Checks the data of a classification config before a run.

mmpretrain numbers classes by the sorted names of their folders. It does not notice a folder that
only training or validation has, which shifts all class indices after it, nor a class without
images; a head with too few classes ends in an index error.
"""

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import DatasetError
from casvit.names import refuse_unsafe_names
from casvit.sentences import as_tuple, count_of, missing_path, need_folder, some
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.datasets.preflight.config_data import (
    check_counts,
    config_classes,
    dataset_class,
    inherits,
    is_remote,
    join,
    several_files,
)
from casvit_mm.datasets.shapes.single import default_root, how_to_generate, prepare
from casvit_mm.datasets.similar_names import SimilarNames
from casvit_mm.models.optional import toolbox_error

GET_IMAGENET = (
    'Get ImageNet-1k from https://image-net.org/download.php, unpack it into train/ and val/ with '
    'one folder per class, and name the folder that holds these two with --data-root DIR.'
)
LISTED_LOOKED_FOR = 100


def check_classification_data(
    cfg: Config | Mapping[str, Any], splits: Sequence[str] = ('train', 'val')
) -> list[str]:
    """Checks the datasets of a classification config, and the head's class count against them.

    Generates the shapes dataset if its default root does not exist yet.

    Args:
        cfg: The config.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``.

    Returns:
        One line per dataset that summarises it.

    Raises:
        DatasetError: A folder or list is missing or cannot be read; there are fewer than two class
            folders, or empty ones; the classes of training and validation, or of model and data,
            differ; mmpretrain cannot be imported.
    """
    if reason := toolbox_error('mmpretrain'):
        raise DatasetError(reason)
    facts = []
    seen: dict[str, list[str]] = {}
    for split in splits:
        for dataset in ConfigView(cfg).datasets(split):
            try:
                facts.append(_check_dataset(dataset, split, cfg, seen))
            except OSError as error:
                raise DatasetError(
                    f'{error.filename} cannot be read: {error.strerror or error}.'
                ) from error
    return facts


def _check_dataset(
    dataset: Mapping[str, Any], split: str, cfg: Mapping[str, Any], seen: dict[str, list[str]]
) -> str:
    kind = dataset_class(dataset.get('type'), 'mmpretrain')
    root = str(dataset.get('data_root') or '')
    hint = 'Set another folder with --data-root DIR.'
    if inherits(kind, 'casvit_mm.datasets.shapes.single_shapes_dataset', 'SingleShapesDataset'):
        root = root or str(default_root())
        prepare(root)
        hint = f'Generate it with: {how_to_generate(root)}'
    elif inherits(kind, 'mmpretrain.datasets', 'ImageNet'):
        hint = GET_IMAGENET
    if not isinstance(dataset.get('ann_file') or '', str):
        return several_files(dataset, kind, split)
    prefix, ann_file = _where(dataset, root)
    folder = join(root, prefix)
    if not inherits(kind, 'mmpretrain.datasets', 'CustomDataset') or not dataset.get(
        'with_label', True
    ):
        return f'{split}: {folder} (type {type_name(dataset)}) was not checked'
    if dataset.get('backend_args') or any(map(is_remote, (root, folder, ann_file))):
        return f'{split}: {folder} is not on this machine and was not checked'
    if root:
        need_folder('data root', root, hint)
    need_folder('image folder', folder, hint)
    classes = config_classes(dataset, kind)
    if ann_file:
        ann_file = join(root, ann_file)
        if not Path(ann_file).is_file():
            raise missing_path('list of images', ann_file, hint)
        images, classes = _check_list(ann_file, folder, classes)
    else:
        extensions = tuple(end.lower() for end in dataset.get('extensions', _extensions()))
        images, folders = _check_folders(folder, extensions, hint)
        _compare_splits(split, folder, folders, seen)
        classes = _check_names(folder, folders, classes)
    refuse_unsafe_names(classes, ann_file or folder)
    check_counts(cfg, classes, ann_file or folder)
    return f'{split}: {count_of(images, "image")}, {count_of(len(classes), "class")} ({folder})'


def _extensions() -> tuple[str, ...]:
    """The default suffixes of images in mmpretrain."""
    from mmpretrain.datasets import CustomDataset

    return inspect.signature(CustomDataset).parameters['extensions'].default


def _where(dataset: Mapping[str, Any], root: str) -> tuple[str, str]:
    """The image folder and the list of images of a dataset, as mmpretrain resolves them."""
    prefix = dataset.get('data_prefix') or ''
    if isinstance(prefix, Mapping):
        prefix = prefix.get('img_path') or ''
    ann_file = str(dataset.get('ann_file') or '')
    split = dataset.get('split')
    if split:
        prefix = prefix or split
        listed = f'meta/{split}.txt'
        if not ann_file and Path(join(root, listed)).is_file():
            ann_file = listed
    return str(prefix), ann_file


def _check_folders(folder: str, extensions: tuple[str, ...], hint: str) -> tuple[int, list[str]]:
    """The number of images, and the class folders in mmpretrain's order."""
    with os.scandir(folder) as entries:
        listed = [(entry.name, entry.is_dir()) for entry in entries]
    folders = sorted(name for name, is_dir in listed if is_dir and not name.startswith('.'))
    if not folders:
        loose = [name for name, _ in listed if name.lower().endswith(extensions)]
        found = f'only {count_of(len(loose), "image")}' if loose else 'nothing'
        raise DatasetError(
            f'There are no class folders in {folder}, {found}: put the images of every class into '
            f'a folder of its name ({Path(folder) / "cat" / "1.jpg"}), or set ann_file of the '
            f'dataset to a list of images and class indices. {hint}'
        )
    if len(folders) == 1:
        raise DatasetError(
            f'There is only one class folder in {folder}, {folders[0]!r}: a classifier needs two '
            'classes or more, each in a folder of its name. If the class folders are inside this '
            'folder, append it to data_prefix of the dataset.'
        )
    counts = {name: _count_images(Path(folder, name), extensions) for name in folders}
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise DatasetError(
            f'{len(empty)} of the {len(folders)} class folders in {folder} hold no images '
            f'({", ".join(extensions)}): {some(empty)}. Fill or remove them, in both training and '
            'validation.'
        )
    return sum(counts.values()), folders


def _count_images(folder: Path, extensions: tuple[str, ...]) -> int:
    def stop(error: OSError) -> None:
        raise error

    return sum(
        name.lower().endswith(extensions)
        for _, _, names in os.walk(folder, onerror=stop)
        for name in names
    )


def _compare_splits(
    split: str, folder: str, folders: list[str], seen: dict[str, list[str]]
) -> None:
    """Checks that all splits have the same class folders, and so the same class indices."""
    for other, known in seen.items():
        if folders != known:
            only = [
                f'only in {where}: {some(sorted(names))}'
                for where, names in (
                    (other, set(known) - set(folders)),
                    (folder, set(folders) - set(known)),
                )
                if names
            ]
            raise DatasetError(
                f'The class folders of {other} and {folder} differ ({"; ".join(only)}). Classes '
                'are numbered by the sorted names of their folders, so one class index would mean '
                f'two classes. Give {split} the same folders.'
            )
    seen[folder] = folders


def _check_names(folder: str, folders: list[str], classes: list[str] | None) -> list[str]:
    """Compares the class names of a config or dataset with the folders; returns the names."""
    if classes is None:
        return folders
    if len(classes) != len(folders):
        raise DatasetError(
            f'The dataset names {count_of(len(classes), "class")} ({some(classes)}), but there '
            f'are {len(folders)} class folders in {folder} ({some(folders)}). Set '
            f'metainfo=dict(classes={as_tuple(folders)}), or use type CustomDataset without '
            'metainfo, which takes the names of the folders.'
        )
    # All folders may be named differently from their classes, as in ImageNet, but not only some.
    if set(classes) & set(folders) and classes != folders:
        place = next(i for i, name in enumerate(classes) if name != folders[i])
        raise DatasetError(
            f'The class names of the dataset do not match the folders in {folder}, whose sorted '
            f'names number the classes: class {place} is {classes[place]!r} in the config, but '
            f'its folder is {folders[place]!r}. '
            f'Set metainfo=dict(classes={as_tuple(folders)}) in the dataset of the config.'
        )
    return classes


def _check_list(ann_file: str, folder: str, classes: list[str] | None) -> tuple[int, list[str]]:
    """Reads a list of images and class indices; returns its length and the class names."""
    try:
        text = Path(ann_file).read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise DatasetError(f'The list of images {ann_file} is not a text file: {error}.') from error
    if text.startswith('\ufeff'):
        raise DatasetError(
            f'The list of images {ann_file} starts with a byte order mark, which mmpretrain takes '
            'for a part of the first name: save it as plain UTF-8.'
        )
    lines = text.splitlines()
    names, labels = [], set()
    for number, line in enumerate(lines, start=1):
        name, _, label = line.strip().rpartition(' ')
        if not name or not label.isdecimal():
            raise DatasetError(
                f'The list of images {ann_file} has {line!r} in line {number}: expected a file '
                "name, a space and a class index, such as 'cats/1.jpg 0'."
            )
        names.append(name)
        labels.add(int(label))
    if not names:
        raise DatasetError(f'The list of images {ann_file} is empty.')
    if classes is None:
        classes = [str(number) for number in range(max(labels) + 1)]
    if len(classes) < 2:
        raise DatasetError(
            f'The list of images {ann_file} has only one class: a classifier needs two or more.'
        )
    if max(labels) >= len(classes):
        raise DatasetError(
            f'The list of images {ann_file} has the class index {max(labels)}, but there are '
            f'{count_of(len(classes), "class")}, numbered from 0: {some(classes)}.'
        )
    step = max(len(names) // LISTED_LOOKED_FOR, 1)
    missing = [name for name in names[::step] if not Path(folder, name).is_file()]
    if missing:
        hint = 'Set data_prefix of the dataset to the folder that the listed names are relative to.'
        if similar := SimilarNames().find(Path(folder, missing[0])):
            hint = f'There is {str(similar)!r}: write the names in the list as those of the files.'
        raise DatasetError(
            f'Images listed in {ann_file} are not in {folder}: {some(missing)}. {hint}'
        )
    return len(names), classes
