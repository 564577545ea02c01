"""Checks the data of a segmentation config before a run.

A class index out of range ends in an index error, on a GPU in a device-side assert that names
neither file nor value; a semantic mask that is missing or of another size stops a run in the middle
of an epoch. The existence and size of each mask are checked from file headers; the values in some
masks are checked here, and those in every batch by :class:`casvit_mm.datasets.LabelRangeHook`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit.errors import DatasetError
from casvit.names import refuse_unsafe_names
from casvit.sentences import count_of, need_folder, some
from casvit.tables import IGNORE_INDEX
from casvit_mm.config.view import ConfigView, nested, type_name
from casvit_mm.datasets.preflight.config_data import (
    check_counts,
    config_classes,
    dataset_class,
    inherits,
    is_remote,
    join,
)
from casvit_mm.datasets.semantic_masks import (
    LabelRange,
    binary_foreground,
    check_semantic_mask,
    describe_binary,
    mask_size,
    pixel_values,
    upright_size,
)
from casvit_mm.datasets.shapes.objects import default_root, how_to_generate, prepare

GET_ADE20K = (
    'Get ADEChallengeData2016.zip from http://sceneparsing.csail.mit.edu, unpack it, and name its '
    'folder with --data-root DIR.'
)
MASKS_READ = 32


def check_semantic_data(
    cfg: Config | Mapping[str, Any], splits: Sequence[str] = ('train', 'val')
) -> list[str]:
    """Checks the datasets of a segmentation config, and the model's class counts against them.

    Generates the shapes dataset if its default root does not exist yet.

    Args:
        cfg: The config.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``.

    Returns:
        One line per dataset that summarises it.

    Raises:
        DatasetError: A folder, image or semantic mask is missing or damaged; a semantic mask
            differs in size from its image, or holds colours or values outside the classes; model
            and data differ in their number of classes.
    """
    facts = []
    for split in splits:
        for dataset in ConfigView(cfg).datasets(split):
            facts.append(_check_dataset(dataset, split, cfg))
    return facts


def _check_dataset(dataset: Mapping[str, Any], split: str, cfg: Mapping[str, Any]) -> str:
    kind = dataset_class(dataset.get('type'), 'mmseg')
    root = str(dataset.get('data_root') or '')
    if inherits(kind, 'casvit_mm.datasets', 'SemanticShapesDataset'):
        root = root or str(default_root())
        prepare(root)
    if not inherits(kind, 'mmseg.datasets', 'BaseSegDataset'):
        return f'{split}: {root} (type {type_name(dataset)}) was not checked'
    prefix = dataset.get('data_prefix') or {}
    if not isinstance(prefix.get('img_path'), str):
        raise DatasetError(
            f'The dataset of type {type_name(dataset)} (data_root {root!r}) does not say where '
            "its images are: set data_prefix=dict(img_path='FOLDER', seg_map_path='FOLDER') in "
            'it.'
        )
    images = join(root, prefix['img_path'])
    if dataset.get('backend_args') or is_remote(root) or is_remote(images):
        return f'{split}: {images} is not on this machine and was not checked'
    hint = _where_from(kind, root)
    if root:
        need_folder('data root', root, hint)
    need_folder('image folder', images, hint)
    classes = config_classes(dataset, kind)
    if classes is None:
        raise DatasetError(
            f'The dataset of type {type_name(dataset)} ({images}) does not name its classes: '
            'set metainfo=dict(classes=(...), palette=[...]) in it.'
        )
    refuse_unsafe_names(classes, images)
    check_counts(cfg, classes, images)
    records = _records(dataset, kind, images, hint)
    annotated = isinstance(prefix.get('seg_map_path'), str) and _loads_labels(dataset)
    if annotated:
        need_folder('semantic mask folder', join(root, prefix['seg_map_path']), hint)
        _check_pairs(records, images, hint)
        _check_values(
            records, label_range(kind, classes, records[0], _ignore_index(cfg.get('model')))
        )
    what = count_of(len(records), 'image') + (' with semantic masks' if annotated else '')
    return f'{split}: {what}, {count_of(len(classes), "class")} ({images})'


def label_range(
    kind: type, classes: Sequence[str], record: Mapping[str, Any], ignore_index: int = 255
) -> LabelRange:
    """The values that the semantic masks of a dataset may have.

    Args:
        kind: Its class. If a config selects some of the classes of this class, the masks still
            hold all of them.
        classes: Class names of the config.
        record: One of its records.
        ignore_index: The value of ignored pixels.
    """
    known = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    stored = known if record.get('label_map') is not None and known else classes
    return LabelRange(len(stored), bool(record.get('reduce_zero_label')), ignore_index)


def _records(
    dataset: Mapping[str, Any], kind: type, images: str, hint: str
) -> list[dict[str, Any]]:
    """Lists the images and semantic masks as the dataset itself finds them."""
    arguments = {
        key: value for key, value in dataset.items() if key not in ('type', 'pipeline', 'indices')
    }
    lazy = kind(**arguments, pipeline=[], lazy_init=True)
    if lazy.ann_file and not Path(lazy.ann_file).exists():
        raise DatasetError(f'The list of images {lazy.ann_file} does not exist. {hint}')
    records = lazy.load_data_list()
    if not records:
        raise DatasetError(
            f'There are no images in {images} that end in {lazy.img_suffix}: set img_suffix of the '
            'dataset to their suffix.'
        )
    return records


def _check_pairs(records: list[dict[str, Any]], images: str, hint: str) -> None:
    """Checks that every image has a semantic mask of the same size, from the file headers."""
    missing = [r['seg_map_path'] for r in records if not Path(r['seg_map_path']).is_file()]
    if missing:
        raise DatasetError(
            f'{len(missing)} of the {count_of(len(records), "image")} in {images} have no semantic '
            f'mask: {some(missing)}. Is seg_map_suffix of the dataset correct? {hint}'
        )
    # Threads wait for the disk in parallel; the results keep the order of the files.
    with ThreadPoolExecutor(8) as pool:
        for record, (image, mask) in zip(records, pool.map(_sizes, records), strict=True):
            if image != mask:
                raise DatasetError(
                    f'The image {record["img_path"]} is {_as_size(image)} pixels, but its semantic '
                    f'mask {record["seg_map_path"]} is {_as_size(mask)}: the sizes must be equal.'
                )


def _check_values(records: list[dict[str, Any]], allowed: LabelRange) -> None:
    """Checks the values in an evenly spaced sample of the semantic masks."""
    places = np.linspace(0, len(records) - 1, min(MASKS_READ, len(records)), dtype=int)
    files = [records[index]['seg_map_path'] for index in places]
    _check_foreground(files, [record['seg_map_path'] for record in records], allowed)
    for file in files:
        check_semantic_mask(file, allowed)


def _check_foreground(files: list[str], others: list[str], allowed: LabelRange) -> None:
    """Raises DatasetError if all semantic masks hold only 0 and one value other than 1."""
    values: set[int] = set()
    value = None
    for number, file in enumerate((*files, *others), 1):
        values |= set(pixel_values(file)[0].tolist())
        value = binary_foreground(values, allowed.highest + 1, allowed.ignore_index)
        # If the first files look like it, the others are read too: class 1 may be rare.
        if len(values) > 2 or (number == len(files) and value is None):
            return
    if value is not None:
        raise DatasetError(
            f'The semantic masks, such as {files[0]}, {describe_binary(value)}. Write 1 instead of '
            f'{value}: `casvit check DATA --task semantic --fix OUT` writes such a copy.'
        )


def _ignore_index(model: Any) -> int:
    """The value of pixels that the loss of a segmentor ignores."""
    heads = (model or {}).get('decode_head') or {}
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    value = head.get('ignore_index', IGNORE_INDEX) if isinstance(head, Mapping) else IGNORE_INDEX
    return value if isinstance(value, int) else IGNORE_INDEX


def _sizes(record: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    return upright_size(record['img_path']), mask_size(record['seg_map_path'])


def _as_size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def _loads_labels(dataset: Mapping[str, Any]) -> bool:
    return any(
        'LoadAnnotations' in str(step.get('type')) for step in nested(dataset.get('pipeline'))
    )


def _where_from(kind: type, root: str) -> str:
    """What to do if part of a dataset is missing."""
    if inherits(kind, 'casvit_mm.datasets', 'SemanticShapesDataset'):
        return f'Generate it with: {how_to_generate(root)}'
    if inherits(kind, 'mmseg.datasets', 'ADE20KDataset'):
        return GET_ADE20K
    return 'Set another folder with --data-root DIR.'
