"""Checks the data of a segmentation config before a run.

A class index out of range ends in an index error, on a GPU in a device-side assert that names
neither file nor value; a semantic mask that is missing or of another size stops a run in the middle
of an epoch. The existence and size of each mask are checked from file headers; the values in some
masks are checked here, and those in every batch by :class:`casvit_mm.datasets.LabelRangeHook`. The
rules are those of the audit, in :mod:`casvit_mm.datasets.semantic_masks`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit.errors import DatasetError
from casvit.names import refuse_unsafe_names
from casvit.sentences import count_of, from_here, need_folder, some
from casvit.tables import IGNORE_INDEX
from casvit_mm.config.view import ConfigView, nested, type_name
from casvit_mm.datasets.mask_files import MaskHeader
from casvit_mm.datasets.preflight.config_data import (
    check_counts,
    config_classes,
    dataset_class,
    inherits,
)
from casvit_mm.datasets.roots import is_remote, join
from casvit_mm.datasets.semantic_masks import (
    LabelRange,
    Misread,
    check_values,
    index_content,
    index_header,
    misread,
    nothing_to_learn,
    upright_size,
)
from casvit_mm.datasets.shapes.objects import default_root, how_to_generate, prepare
from casvit_mm.datasets.shards.address import is_sharded
from casvit_mm.datasets.shards.backend import shards_of

GET_ADE20K = (
    'Get ADEChallengeData2016.zip from http://sceneparsing.csail.mit.edu, unpack it, and name its '
    'folder with --data-root DIR.'
)
MASKS_READ = 32
# Heads of mmseg that predict something else than the classes: the edges between them.
OTHER_HEADS = ('STDCHead',)
# The only losses of heads that predict edges or distances.
OTHER_LOSSES = ('BoundaryLoss', 'SiLogLoss', 'L1Loss', 'SmoothL1Loss', 'MSELoss')


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
            differs in size from its image, or holds colours or values outside the classes; a split
            holds nothing to learn; model and data differ in their number of classes.
    """
    facts = []
    for split in splits:
        found = []
        for dataset in ConfigView(cfg).datasets(split):
            fact, masks = _check_dataset(dataset, split, cfg)
            facts.append(fact)
            found.append(masks)
        known = [masks for masks in found if masks is not None]
        # What one of several datasets lacks, another may have.
        if known and len(known) == len(found):
            _check_presence(split, known, cfg)
    return facts


@dataclass(frozen=True)
class _Masks:
    """The semantic masks of one dataset.

    Attributes:
        source: The folder of their images.
        classes: Names of the classes.
        allowed: The values that they may have.
        label_map: Class index of each class in the masks, if a config selects some; else None.
        values: The values in some of them.
        others: All of them.
        backend: How a run decodes them.
    """

    source: str
    classes: list[str]
    allowed: LabelRange
    label_map: Mapping[int, int] | None
    values: frozenset[int]
    others: list[str]
    backend: str

    def names(self, values: set[int]) -> Iterator[str]:
        """The names of the classes with these values."""
        for value in sorted(self.allowed.classes_of(values)):
            index = value - self.allowed.reduce_zero_label
            index = self.label_map.get(index, IGNORE_INDEX) if self.label_map else index
            if index < len(self.classes):
                yield self.classes[index]


def _check_dataset(
    dataset: Mapping[str, Any], split: str, cfg: Mapping[str, Any]
) -> tuple[str, _Masks | None]:
    kind = dataset_class(dataset.get('type'), 'mmseg')
    root = str(dataset.get('data_root') or '')
    if inherits(kind, 'casvit_mm.datasets', 'SemanticShapesDataset'):
        root = root or str(default_root())
        prepare(root)
    if not inherits(kind, 'mmseg.datasets', 'BaseSegDataset'):
        return f'{split}: {root} (type {type_name(dataset)}) was not checked', None
    prefix = dataset.get('data_prefix') or {}
    lists_pairs = inherits(kind, 'casvit_mm.datasets', 'PairsDataset')
    if not lists_pairs and not isinstance(prefix.get('img_path'), str):
        raise DatasetError(
            f'The dataset of type {type_name(dataset)} (data_root {root!r}) does not say where '
            "its images are: set data_prefix=dict(img_path='FOLDER', seg_map_path='FOLDER') in "
            'it.'
        )
    images = join(root, prefix.get('img_path') or '') or '.'
    sharded = is_sharded(root) and is_sharded(images)
    if not sharded and (dataset.get('backend_args') or is_remote(root) or is_remote(images)):
        return f'{split}: {images} is not on this machine and was not checked', None
    hint = _where_from(kind, root)
    if root and not sharded:
        need_folder('data root', root, hint)
    if not sharded:
        need_folder('image folder', images, hint)
    classes = config_classes(dataset, kind)
    if classes is None:
        raise DatasetError(
            f'The dataset of type {type_name(dataset)} ({images}) does not name its classes: '
            'set metainfo=dict(classes=(...), palette=[...]) in it.'
        )
    refuse_unsafe_names(classes, images)
    check_counts(_without_other_heads(cfg), classes, images)
    records = _records(dataset, kind, images, hint)
    step = _loads_labels(dataset)
    annotated = lists_pairs or isinstance(prefix.get('seg_map_path'), str)
    loaded, masks = annotated and step is not None, None
    if sharded:
        _check_listed(records, dataset, images, masks=loaded)
    elif annotated and step is not None:
        backend = str(step.get('imdecode_backend') or 'pillow')
        need_folder('semantic mask folder', join(root, prefix.get('seg_map_path') or '.'), hint)
        _check_pairs(records, images, hint, backend)
        allowed = label_range(kind, classes, records[0], _ignore_index(cfg.get('model')))
        files = [record['seg_map_path'] for record in records]
        values = _check_values(files, allowed, backend)
        label_map = records[0].get('label_map')
        masks = _Masks(images, classes, allowed, label_map, frozenset(values), files, backend)
    what = count_of(len(records), 'image') + (' with semantic masks' if loaded else '')
    return f'{split}: {what}, {count_of(len(classes), "class")} ({from_here(images)})', masks


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
    lists_pairs = inherits(kind, 'casvit_mm.datasets', 'PairsDataset')
    if lazy.ann_file and is_remote(lazy.ann_file) and not lists_pairs:
        raise DatasetError(
            f'mmseg reads the list of images {lazy.ann_file} from this machine only: set ann_file '
            'of the dataset to the absolute path of a copy.'
        )
    if lazy.ann_file and not is_remote(lazy.ann_file) and not Path(lazy.ann_file).exists():
        raise DatasetError(f'The list of images {lazy.ann_file} does not exist. {hint}')
    records = lazy.load_data_list()
    if not records:
        raise DatasetError(
            f'There are no images in {images} that end in {lazy.img_suffix}: set img_suffix of the '
            'dataset to their suffix.'
        )
    return records


def _check_listed(
    records: list[dict[str, Any]], dataset: Mapping[str, Any], images: str, *, masks: bool
) -> None:
    """Checks that the index of shards lists all images and semantic masks; none of them is read."""
    shards = shards_of(dataset)
    for key, what in (('img_path', 'images'), ('seg_map_path', 'semantic masks'))[: 1 + masks]:
        files = [record[key] for record in records]
        if missing := [file for file in files if not shards.isfile(file)]:
            raise DatasetError(
                f'{len(missing)} of the {len(files)} {what} that belong to {images} are not in the '
                f'shards: {some(missing)}. Are data_prefix and the suffixes of the dataset correct?'
            )


def _check_pairs(records: list[dict[str, Any]], images: str, hint: str, backend: str) -> None:
    """Checks that every image has a semantic mask of the same size, from the file headers."""
    missing = [r['seg_map_path'] for r in records if not Path(r['seg_map_path']).exists()]
    if missing:
        raise DatasetError(
            f'{len(missing)} of the {count_of(len(records), "image")} in {images} have no semantic '
            f'mask: {some(missing)}. Is seg_map_suffix of the dataset correct? {hint}'
        )
    lossy = ''

    def headers(record: Mapping[str, Any]) -> tuple[tuple[int, int], MaskHeader]:
        return upright_size(record['img_path']), index_header(record['seg_map_path'], backend)

    # Threads wait for the disk in parallel; the results keep the order of the files.
    with ThreadPoolExecutor(8) as pool:
        for record, (image, mask) in zip(records, pool.map(headers, records), strict=True):
            if image != mask.size:
                raise DatasetError(
                    f'The image {record["img_path"]} is {_as_size(image)} pixels, but its semantic '
                    f'mask {record["seg_map_path"]} is {_as_size(mask.size)}: the sizes must be '
                    'equal.'
                )
            lossy = mask.lossy if record is records[0] or lossy else ''
    if lossy:
        raise DatasetError(
            f'The semantic masks, such as {records[0]["seg_map_path"]}, are saved as {lossy}, '
            'which invents classes at every edge: export them again, as PNG.'
        )


def _check_values(files: list[str], allowed: LabelRange, backend: str) -> set[int]:
    """Checks the values in an evenly spaced sample of the semantic masks, and returns them."""
    places = np.linspace(0, len(files) - 1, min(MASKS_READ, len(files)), dtype=int)
    sample = {files[index]: index_content(files[index], backend) for index in places}
    values = {value for content in sample.values() for value in content.counts}
    seen = set(values)
    palette = all(content.header.mode == 'P' for content in sample.values())

    def look() -> Misread | None:
        return misread(seen, allowed.highest + 1, allowed.ignore_index, palette=palette)

    # If the first files look misread, the others are read too: class 1 may be rare.
    found = look()
    for file in (file for file in files if file not in sample):
        if found is None:
            break
        seen |= set(index_content(file, backend).counts)
        found = look()
    if found is not None:
        instead = 'Write 1 instead of it' if found.kind == 'binary-mask' else 'Write indices from 0'
        raise DatasetError(
            f'The semantic masks, such as {files[0]}, {found.detail}. {instead}: `casvit check '
            f'DATA --task semantic --fix OUT` writes such a copy.{_backend_advice(backend)}'
        )
    for file, content in sample.items():
        check_values(file, content, allowed)
    return values


def _backend_advice(backend: str) -> str:
    # Pillow decodes a mask of 1 bit as 0 and 1, OpenCV as 0 and 255.
    return '' if backend == 'pillow' else f' They are read with imdecode_backend={backend!r}.'


def _check_presence(split: str, datasets: list[_Masks], cfg: Mapping[str, Any]) -> None:
    """Raises DatasetError if a model can learn nothing from the masks of a split."""
    if any(
        isinstance(e, Mapping) and e.get('format_only') for e in ConfigView(cfg).evaluators(split)
    ):
        # Predictions are written, not evaluated.
        return
    names = {name for masks in datasets for name in masks.names(set(masks.values))}
    # A class may be rare: the other files are read until there are two.
    for masks in datasets:
        for file in masks.others:
            if not nothing_to_learn(names):
                return
            names |= set(masks.names(set(index_content(file, masks.backend).counts)))
    if reason := nothing_to_learn(names):
        raise DatasetError(
            f'There is nothing to {"learn from" if split == "train" else "evaluate"} in the split '
            f'{split} ({datasets[0].source}): {reason}. A model needs two classes.'
        )


def _without_other_heads(cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config without auxiliary heads that predict something else than the classes."""
    model = cfg.get('model') or {}
    heads = model.get('auxiliary_head')
    if isinstance(heads, (list, tuple)):
        # A place stays a place: messages count the heads.
        kept: Any = [{} if _is_other(head) else head for head in heads]
    else:
        kept = {} if _is_other(heads) else heads
    return {**cfg, 'model': {**model, 'auxiliary_head': kept}}


def _is_other(head: Any) -> bool:
    if not isinstance(head, Mapping):
        return False
    losses = head.get('loss_decode')
    losses = losses if isinstance(losses, (list, tuple)) else [losses]
    kinds = [type_name(loss) for loss in losses if isinstance(loss, Mapping)]
    return type_name(head) in OTHER_HEADS or bool(kinds and set(kinds) <= set(OTHER_LOSSES))


def _ignore_index(model: Any) -> int:
    """The value of pixels that the loss of a segmentor ignores."""
    heads = (model or {}).get('decode_head') or {}
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    value = head.get('ignore_index', IGNORE_INDEX) if isinstance(head, Mapping) else IGNORE_INDEX
    return value if isinstance(value, int) else IGNORE_INDEX


def _as_size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def _loads_labels(dataset: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The step of the pipeline that loads the masks."""
    return next(
        (
            step
            for step in nested(dataset.get('pipeline'))
            if 'LoadAnnotations' in str(step.get('type'))
        ),
        None,
    )


def _where_from(kind: type, root: str) -> str:
    """What to do if part of a dataset is missing."""
    if inherits(kind, 'casvit_mm.datasets', 'SemanticShapesDataset'):
        return f'Generate it with: {how_to_generate(root)}'
    if inherits(kind, 'mmseg.datasets', 'ADE20KDataset'):
        return GET_ADE20K
    return 'Set another folder with --data-root DIR.'
