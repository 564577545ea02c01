"""Checks the data of a classification config before a run.

mmpretrain numbers classes by the sorted names of their folders. It does not notice a folder that
only training or validation has, which shifts all class indices after it, nor a class without
images; a head with too few classes ends in an index error. The rules are those of the audit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.names import refuse_unsafe_names
from casvit.sentences import as_tuple, count_of, from_here, missing_path, need_folder, some
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.datasets.audit.classes.rules import order_issues, split_issues
from casvit_mm.datasets.formats.classes import (
    EXTENSIONS,
    ClassSplit,
    read_class_folders,
    read_class_list,
)
from casvit_mm.datasets.issues import KINDS, IssueList
from casvit_mm.datasets.preflight.config_data import (
    check_counts,
    config_classes,
    dataset_class,
    inherits,
    several_files,
)
from casvit_mm.datasets.roots import is_remote, join
from casvit_mm.datasets.shapes.single import default_root, how_to_generate, prepare
from casvit_mm.datasets.similar_names import SimilarNames
from casvit_mm.models.optional import toolbox_error

GET_IMAGENET = (
    'Get ImageNet-1k from https://image-net.org/download.php, unpack it into train/ and val/ with '
    'one folder per class, and name the folder that holds these two with --data-root DIR.'
)
INSIDE = 'If the class folders are inside this folder, append it to data_prefix of the dataset.'
LISTED_LOOKED_FOR = 100
SHOWN = 3


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
    seen: dict[str, ClassSplit] = {}
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
    dataset: Mapping[str, Any], split: str, cfg: Mapping[str, Any], seen: dict[str, ClassSplit]
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
        found = read_class_list(Path(ann_file), Path(folder), classes)
        _refuse(split_issues(found))
        _check_listed(found)
        classes = found.names
    else:
        extensions = tuple(end.lower() for end in dataset.get('extensions', EXTENSIONS))
        found = read_class_folders(Path(folder), extensions)
        _refuse(split_issues(found), {0: hint, 1: INSIDE}.get(len(found.names), ''))
        # The names of a million images are not needed any more.
        seen[folder] = replace(found, images=[], skipped=[])
        _refuse(order_issues(seen), f'Give {split} the same folders.')
        classes = _check_names(folder, found.names, classes)
    refuse_unsafe_names(classes, ann_file or folder)
    check_counts(cfg, classes, ann_file or folder)
    counts = f'{count_of(len(found.images), "image")}, {count_of(len(classes), "class")}'
    return f'{split}: {counts} ({from_here(folder)})'


def _refuse(issues: IssueList, hint: str = '') -> None:
    """Raises DatasetError for issues that stop a run, or concern a split as a whole."""
    refused = IssueList(issue for issue in issues.issues if issue.refused)
    for kind, number in refused.counts().items():
        more = f' (and {number - SHOWN} more)' if number > SHOWN else ''
        shown = '; '.join(map(str, refused.first(kind, SHOWN)))
        raise DatasetError(f'{shown}{more}. {KINDS[kind].advice} {hint}'.rstrip())


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


def _check_listed(split: ClassSplit) -> None:
    """Checks that some of the listed images exist."""
    step = max(len(split.images) // LISTED_LOOKED_FOR, 1)
    missing = [image.name for image in split.images[::step] if not is_file(split.path(image))]
    if missing:
        hint = 'Set data_prefix of the dataset to the folder that the listed names are relative to.'
        if similar := SimilarNames().find(Path(split.folder, missing[0])):
            hint = f'There is {str(similar)!r}: write the names in the list as those of the files.'
        raise DatasetError(
            f'Images listed in {split.file} are not in {split.folder}: {some(missing)}. {hint}'
        )
