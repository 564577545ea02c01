"""Checks the data of a detection config before a run.

mmdet trains without complaint on classes that are not in the annotation file (AP 0) or in another
order than there (names mixed up), and stops at missing images in the middle of an epoch. This
check finds all of them before the first iteration; the records of annotation files are checked by
the rules of ``casvit check``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import DatasetError
from casvit.files import is_file
from casvit.names import refuse_unsafe_names
from casvit.sentences import (
    as_tuple,
    count_of,
    from_here,
    missing_path,
    need_folder,
    shown_path,
    some,
)
from casvit_mm.config.view import ConfigView, nested, type_name
from casvit_mm.datasets.audit.coco_records import scan_coco
from casvit_mm.datasets.audit.coco_scan import CocoScan
from casvit_mm.datasets.formats.coco.complete import missing_parts
from casvit_mm.datasets.formats.coco.file import load_coco, without_garbage_collection
from casvit_mm.datasets.issues import KINDS, Issue
from casvit_mm.datasets.preflight.config_data import (
    check_counts,
    config_classes,
    dataset_class,
    inherits,
    several_files,
)
from casvit_mm.datasets.preflight.unsafe_masks import (
    evaluates_masks,
    loads_masks,
    refuse_unsafe_file,
)
from casvit_mm.datasets.roots import is_remote, join
from casvit_mm.datasets.shapes.objects import default_root, how_to_generate, prepare
from casvit_mm.datasets.shards.address import is_sharded
from casvit_mm.datasets.shards.backend import shards_of
from casvit_mm.datasets.similar_names import SimilarNames

GET_COCO = (
    'Get COCO 2017 from https://cocodataset.org/#download, unpack train2017/, val2017/ and '
    'annotations/ into one folder, and name it with --data-root DIR.'
)
# Things and stuff have separate heads, and trackers detect pedestrians only.
COUNTED_OTHERWISE = ('CocoPanopticDataset', 'BaseVideoDataset')


def check_detection_data(
    cfg: Config | Mapping[str, Any], splits: Sequence[str] = ('train', 'val')
) -> list[str]:
    """Checks the datasets of a detection config, and the model's class counts against them.

    Generates the shapes dataset if its default root does not exist yet.

    Args:
        cfg: The config.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``. Annotations of the test
            split may be missing, as they are for COCO's test server.

    Returns:
        One line per dataset that summarises it.

    Raises:
        DatasetError: A folder or file is missing; an annotation file is not in COCO format or does
            not fit the classes; images are missing; model and data differ in their classes.
    """
    view, facts = ConfigView(cfg), []
    for split in splits:
        metrics = view.evaluators(split)
        for dataset in view.datasets(split):
            evaluates = split != 'train' and any(map(evaluates_masks, metrics))
            facts.append(_check_dataset(dataset, split, cfg, evaluates))
        _check_evaluators(metrics, view.datasets(split), split)
    return facts


def _check_dataset(
    dataset: Mapping[str, Any], split: str, cfg: Mapping[str, Any], evaluates: bool
) -> str:
    kind = dataset_class(dataset.get('type'), 'mmdet')
    ann_file = dataset.get('ann_file') or ''
    if not isinstance(ann_file, str):
        return several_files(dataset, kind, split)
    root = str(dataset.get('data_root') or '')
    if inherits(kind, 'casvit_mm.datasets', 'ShapesDataset'):
        root = root or str(default_root())
        prepare(root)
    hint = _where_from(kind, root, ann_file)
    if is_sharded(root) and kind is not None and _reads_coco(kind):
        return _check_sharded(dataset, split, cfg, kind, evaluates)
    if dataset.get('backend_args') or is_remote(root) or is_remote(ann_file):
        return f'{split}: {join(root, ann_file)} is not on this machine and was not checked'
    if root:
        need_folder('data root', root, hint)
    if not ann_file:
        return f'{split}: {root} (type {type_name(dataset)}) was not checked'
    ann_file = join(root, ann_file)
    reads_coco = _reads_coco(kind)
    if not Path(ann_file).is_file() and (reads_coco or not Path(ann_file).exists()):
        raise missing_path('annotation file', ann_file, hint)
    images = _image_folder(dataset, root, reads_coco)
    if images is not None and not is_remote(images):
        need_folder('image folder', images, hint)
    classes = config_classes(dataset, kind)
    masks = evaluates or loads_masks(dataset)
    if not reads_coco:
        otherwise = (inherits(kind, 'mmdet.datasets', name) for name in COUNTED_OTHERWISE)
        if classes is not None and not any(otherwise):
            refuse_unsafe_names(classes, ann_file)
            check_counts(cfg, classes, ann_file)
        if masks:
            refuse_unsafe_file(ann_file)
        return f'{split}: {ann_file} (type {type_name(dataset)}): what is in it was not checked'
    scan, fact = _check_coco(ann_file, classes, dataset, split, cfg, masks=masks)
    if images is not None and not is_remote(images):
        _check_images(scan, images, hint)
    return fact


def _check_sharded(
    dataset: Mapping[str, Any], split: str, cfg: Mapping[str, Any], kind: type, evaluates: bool
) -> str:
    """Checks a dataset in shards, whose index lists the images: none of them is read."""
    root, shards = str(dataset['data_root']), shards_of(dataset)
    images = _image_folder(dataset, root, True)
    masks = evaluates or loads_masks(dataset)
    address = join(root, dataset.get('ann_file') or '')
    with shards.get_local_path(address) as file:
        classes = config_classes(dataset, kind)
        # A copy for the time being says nothing to the reader of a message.
        shown = file if address.endswith(file) else address
        try:
            scan, fact = _check_coco(file, classes, dataset, split, cfg, masks=masks)
        except DatasetError as error:
            raise DatasetError(str(error).replace(file, shown)) from error
        fact = fact.replace(from_here(file), from_here(shown))
    listed = set(shards.list_dir_or_file(images or root, list_dir=False, recursive=True))
    names = [record['file_name'] for _, record in scan.images.values()]
    if missing := [name for name in names if name not in listed]:
        raise DatasetError(
            f'{len(missing)} of the {len(names)} images listed in {scan.file} are not in the '
            f'shards {images}: {some(missing)}. Is data_prefix of the dataset correct?'
        )
    return fact


def _check_coco(
    file: str,
    classes: list[str] | None,
    dataset: Mapping[str, Any],
    split: str,
    cfg: Mapping[str, Any],
    *,
    masks: bool,
) -> tuple[CocoScan, str]:
    """Checks an annotation file, and the classes of the config against it."""
    labelled = split != 'test' and not _is_unlabelled(dataset)
    scan = _scan(file, split, masks=masks, labelled=labelled)
    classes = list(scan.categories.values()) if classes is None else classes
    refuse_unsafe_names(classes, file)
    _check_classes(scan, classes, dataset)
    check_counts(cfg, classes, file)
    counts = _count_objects(scan, classes, required=labelled)
    return scan, f'{split}: {counts}{_count_issues(scan)}'


def _scan(file: str, split: str, *, masks: bool, labelled: bool) -> CocoScan:
    """Reads an annotation file and checks its records by the rules of the data check.

    Args:
        file: The file.
        split: The split that it belongs to.
        masks: Whether a run loads or evaluates its masks.
        labelled: Whether a run needs its annotations.

    Raises:
        DatasetError: It cannot be read, or has an issue that a run stops at, or that concerns all
            of it.
    """
    content, encoding = load_coco(file)
    for key in ('images', 'categories', 'annotations'):
        if not content.get(key) and (labelled or key != 'annotations'):
            raise DatasetError(f'The annotation file {file} lists no {key}.')
    if parts := missing_parts(content, encoding, evaluated=split != 'train'):
        raise DatasetError(
            f'The annotation file {file} is not complete: {"; ".join(parts)}. A run that reads it '
            'stops there. `casvit finetune DATA` completes such data, and so does the copy that '
            '`casvit check DATA --fix OUT` writes.'
        )
    with without_garbage_collection():
        scan = scan_coco(content, file, masks=masks, crossings=False)
    refused: dict[str, list[Issue]] = {}
    for issue in scan.issues.issues:
        if issue.refused:
            refused.setdefault(issue.kind, []).append(issue)
    for kind, (first, *others) in refused.items():
        more = f' (and {len(others):,} more)' if others else ''
        raise DatasetError(
            f'The data for {split} have {KINDS[kind].title}: {first}{more}. '
            f'{KINDS[kind].advice} `casvit check DATA` lists all issues, and with `--fix OUT` '
            'writes a repaired copy.'
        )
    return scan


def _count_issues(scan: CocoScan) -> str:
    """Summarises the other issues of the records, some of which mmdet silently drops."""
    counts = scan.issues.counts()
    if not counts:
        return ''
    listed = ', '.join(f'{KINDS[kind].title}: {count:,}' for kind, count in counts.items())
    return f'; {listed} (see casvit check)'


def _check_classes(scan: CocoScan, classes: list[str], dataset: Mapping[str, Any]) -> None:
    """Compares the classes of the config with the categories of the file."""
    known = list(scan.categories.values())
    twice = [name for index, name in enumerate(classes) if name in classes[:index]]
    if twice:
        raise DatasetError(f'The config names the class {some(twice)} more than once.')
    lacking = [name for name in classes if name not in known]
    how = f'metainfo=dict(classes={as_tuple(known)})'
    if lacking:
        upper = (
            " The config's metainfo has 'CLASSES', which is ignored; it is 'classes' now."
            if 'CLASSES' in (dataset.get('metainfo') or {})
            else ''
        )
        raise DatasetError(
            f'The annotation file {scan.file} has no category {some(lacking)}: '
            f'{len(lacking)} of the {len(classes)} classes of the config are not in it, and would '
            f'never be learned. Its categories are {some(known, 10)}.{upper} '
            f'To train on all of them, set {how} in the dataset of the config.'
        )
    ordered = [name for name in known if name in classes]
    if ordered != classes:
        place = next(i for i, name in enumerate(classes) if name != ordered[i])
        raise DatasetError(
            f'The classes of the config are in another order than the categories of {scan.file}, '
            f'by which mmdet numbers them, so names would be mixed up: class {place} is '
            f'{classes[place]!r} in the config and {ordered[place]!r} in the file. '
            f'Set metainfo=dict(classes={as_tuple(ordered)}) in the dataset of the config.'
        )


def _count_objects(scan: CocoScan, classes: list[str], *, required: bool) -> str:
    """Summarises the objects of some classes; having none is an error if ``required``."""
    counts = Counter(scan.categories[record['category_id']] for _, record in scan.annotations)
    objects = sum(counts[name] for name in classes)
    if required and objects and not scan.learnable:
        raise DatasetError(
            f'The annotation file {scan.file} has no object to learn from or to be evaluated on: '
            f'each is a crowd or dropped by mmdet{_count_issues(scan)}.'
        )
    if required and not objects:
        raise DatasetError(
            f'The annotation file {scan.file} has no objects: none of its annotations belongs to '
            'one of its images and to one of the classes (compare image_id and category_id with '
            'the ids).'
        )
    return (
        f'{count_of(len(scan.images), "image")}, {count_of(objects, "object")}, '
        f'{count_of(len(classes), "class")} ({from_here(scan.file)})'
    )


def _check_images(scan: CocoScan, folder: str, hint: str) -> None:
    """Checks that images exist by listing folders: one call for thousands on a network drive."""
    listed: dict[Path, frozenset[str]] = {}
    missing = []
    names = [record['file_name'] for _, record in scan.images.values()]
    for name in names:
        path = Path(folder, name)
        if path.parent not in listed:
            try:
                listed[path.parent] = frozenset(entry.name for entry in path.parent.iterdir())
            except (OSError, ValueError):
                listed[path.parent] = frozenset()
        # A listing is case-sensitive even if the file system is not.
        if path.name not in listed[path.parent] and not is_file(path):
            missing.append(name)
    if missing:
        if similar := SimilarNames().find(Path(folder, missing[0])):
            hint = (
                f'There is {str(similar)!r}, which only differs in how it is written (case, '
                'accents, %20): `casvit finetune DATA` finds it, and `casvit check DATA --fix OUT` '
                'writes a copy with the names that are there.'
            )
        raise DatasetError(
            f'{len(missing)} of the {len(names)} images listed in {scan.file} are not in '
            f'{shown_path(folder)}: {some(missing)}. {hint}'
        )


def _check_evaluators(
    metrics: Sequence[Any], datasets: Iterable[Mapping[str, Any]], split: str
) -> None:
    checked = {
        Path(join(str(dataset.get('data_root') or ''), str(dataset.get('ann_file')))).resolve()
        for dataset in datasets
        if _reads_coco(dataset_class(dataset.get('type'), 'mmdet'))
    }
    for metric in metrics:
        ann_file = metric.get('ann_file') if isinstance(metric, Mapping) else None
        if not ann_file or metric.get('backend_args') or is_remote(str(ann_file)):
            continue
        if not Path(ann_file).is_file():
            raise missing_path(
                f'annotation file of {split}_evaluator',
                str(ann_file),
                'The dataset of this split reads the same file; --data-root DIR changes both.',
            )
        if evaluates_masks(metric) and Path(ann_file).resolve() not in checked:
            refuse_unsafe_file(str(ann_file))


def _reads_coco(kind: type | None) -> bool:
    """Whether a class reads its file in the same way as mmdet's CocoDataset."""
    if kind is None:
        return False
    from mmdet.datasets import CocoDataset

    return issubclass(kind, CocoDataset) and all(
        getattr(kind, name) is getattr(CocoDataset, name)
        for name in ('load_data_list', 'parse_data_info')
    )


def _image_folder(dataset: Mapping[str, Any], root: str, reads_coco: bool) -> str | None:
    prefix = dataset.get('data_prefix')
    prefix = prefix if isinstance(prefix, Mapping) else {}
    if reads_coco and not isinstance(prefix.get('img'), str):
        raise DatasetError(
            f'The dataset of type {type_name(dataset)} (data_root {root!r}) does not say where '
            "its images are: set data_prefix=dict(img='FOLDER/') in it."
        )
    folder = prefix.get('img', prefix.get('img_path'))
    return join(root, folder) if isinstance(folder, str) else None


def _is_unlabelled(dataset: Mapping[str, Any]) -> bool:
    """Whether a pipeline ignores the annotations: the unlabelled part of semi-supervised data."""
    steps = [type_name(step) for step in nested(dataset.get('pipeline'))]
    return 'LoadEmptyAnnotations' in steps and 'LoadAnnotations' not in steps


def _where_from(kind: type | None, root: str, ann_file: str) -> str:
    """What to do if part of a dataset is missing."""
    if inherits(kind, 'casvit_mm.datasets', 'ShapesDataset'):
        return f'Generate it with: {how_to_generate(root)}'
    if any(year in ann_file for year in ('train2017', 'val2017', 'test2017', 'test-dev2017')):
        return GET_COCO
    return 'Set another folder with --data-root DIR.'
