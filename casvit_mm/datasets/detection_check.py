"""Looks at the data of a detection config before a run, and says what is wrong in a sentence.

mmdet trains without complaint on classes that its annotation file does not know (AP 0), on
classes in another order than the file's (names exchanged), and finds missing pictures in the
middle of an epoch. This finds them before the first iteration.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit_mm.datasets.coco_file import CocoFile, read_coco
from casvit_mm.datasets.errors import DatasetError
from casvit_mm.datasets.shapes import default_root, how_to_generate, prepare

GET_COCO = (
    'COCO 2017 comes from https://cocodataset.org/#download: unpack train2017/, val2017/ and '
    'annotations/ into one folder, and name it with --data-root DIR.'
)

# Parts of a detector whose num_classes counts something else than the classes of the data.
_OTHER_COUNTS = frozenset(
    ('rpn_head', 'data_preprocessor', 'backbone', 'neck', 'semantic_head', 'panoptic_fusion_head')
)


def check_detection_data(
    cfg: Config | Mapping[str, Any], splits: Sequence[str] = ('train', 'val')
) -> list[str]:
    """Checks the data sets of a detection config, and the model's class counts against them.

    The generated data set comes into being here where its default root is not there yet.

    Args:
        cfg: The config.
        splits: Which of its dataloaders: ``train``, ``val``, ``test``. Annotations of the test
            split may be missing, as they are for COCO's test server.

    Returns:
        One line per data set: what it holds.

    Raises:
        DatasetError: A folder or file is missing; an annotation file is not COCO's or does not
            fit the classes; pictures are missing; the model has another number of classes.
    """
    facts = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader') or {}
        for dataset in leaf_datasets(loader.get('dataset')):
            facts.append(_check_dataset(dataset, split, cfg.get('model')))
        _check_evaluators(cfg, split)
    return facts


def leaf_datasets(dataset: Any) -> Iterator[dict[str, Any]]:
    """The data sets that read files, inside whatever wrappers a config puts around them.

    Args:
        dataset: The ``dataset`` of a dataloader; None gives nothing.

    Yields:
        Their dicts.
    """
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from leaf_datasets(part)
    elif isinstance(dataset, Mapping):
        inner = [dataset[key] for key in ('dataset', 'datasets') if key in dataset]
        if not inner:
            yield dataset
        for part in inner:
            yield from leaf_datasets(part)


def class_counts(model: Any, path: str = 'model') -> Iterator[tuple[str, int]]:
    """Every ``num_classes`` of a model's config that counts the classes of the data.

    Args:
        model: The model's config, or a part of it.
        path: Its dotted name.

    Yields:
        Dotted names and values.
    """
    if isinstance(model, Mapping):
        for key, value in model.items():
            if key == 'num_classes' and isinstance(value, int):
                yield f'{path}.num_classes', value
            elif key not in _OTHER_COUNTS:
                yield from class_counts(value, f'{path}.{key}')
    elif isinstance(model, (list, tuple)):
        for index, value in enumerate(model):
            yield from class_counts(value, f'{path}.{index}')


def _check_dataset(dataset: Mapping[str, Any], split: str, model: Any) -> str:
    kind = _dataset_class(dataset.get('type'))
    ann_file = str(dataset.get('ann_file') or '')
    root = str(dataset.get('data_root') or '')
    if _is_shapes(kind):
        root = root or str(default_root())
        prepare(root)
    hint = _where_from(kind, root, ann_file)
    if dataset.get('backend_args') or _is_remote(root) or _is_remote(ann_file):
        return f'{split}: {_join(root, ann_file)} is not on this machine and was not checked'
    if root:
        _need_folder('data root', root, hint)
    if not ann_file:
        return f'{split}: {root} (type {_type_name(dataset)}) was not checked'
    ann_file = _join(root, ann_file)
    reads_coco = _reads_coco(kind)
    if not Path(ann_file).is_file() and (reads_coco or not Path(ann_file).exists()):
        raise _missing('annotation file', ann_file, hint)
    images = _image_folder(dataset, root, reads_coco)
    if images is not None and not _is_remote(images):
        _need_folder('image folder', images, hint)
    classes = _classes(dataset, kind)
    if not reads_coco:
        if classes is not None:
            _check_counts(model, classes, ann_file)
        return f'{split}: {ann_file} (type {_type_name(dataset)}): what is in it was not checked'
    coco = read_coco(
        ann_file,
        annotated=split != 'test',
        with_mask=_loads_masks(dataset),
        with_iscrowd=split != 'train',
    )
    classes = list(coco.categories.values()) if classes is None else classes
    _check_classes(coco, classes, dataset)
    _check_counts(model, classes, ann_file)
    if images is not None and not _is_remote(images):
        _check_pictures(coco, images, hint)
    return f'{split}: {_count_objects(coco, classes, required=split != "test")}'


def _check_classes(coco: CocoFile, classes: list[str], dataset: Mapping[str, Any]) -> None:
    """Compares the classes of the config with the categories of the file."""
    known = list(coco.categories.values())
    twice = [name for index, name in enumerate(classes) if name in classes[:index]]
    if twice:
        raise DatasetError(f'The config names the class {_some(twice)} more than once.')
    lacking = [name for name in classes if name not in known]
    how = f'metainfo=dict(classes={_as_tuple(known)})'
    if lacking:
        upper = (
            " The config's metainfo has 'CLASSES', which nothing reads; it is 'classes' now."
            if 'CLASSES' in (dataset.get('metainfo') or {})
            else ''
        )
        raise DatasetError(
            f'The annotation file {coco.path} has no category {_some(lacking)}: '
            f'{len(lacking)} of the {len(classes)} classes of the config are not in it, and would '
            f'be trained as nothing. Its categories are {_some(known, 10)}.{upper} '
            f'For all of them, write {how} into the data set of the config.'
        )
    ordered = [name for name in known if name in classes]
    if ordered != classes:
        place = next(i for i, name in enumerate(classes) if name != ordered[i])
        raise DatasetError(
            f'The classes of the config are in another order than the categories of {coco.path}, '
            f'by which mmdet numbers them, so names would be exchanged: class {place} is '
            f'{classes[place]!r} in the config and {ordered[place]!r} in the file. '
            f'Write metainfo=dict(classes={_as_tuple(ordered)}) into the data set of the config.'
        )


def _count_objects(coco: CocoFile, classes: list[str], *, required: bool) -> str:
    """What a file holds of some classes, as a line; nothing at all is an error if ``required``."""
    wanted = set(classes)
    total = sum(coco.objects.values())
    objects = sum(n for key, n in coco.objects.items() if coco.categories[key] in wanted)
    if required and not objects:
        reason = 'it has no annotations'
        if total or coco.strays:
            reason = (
                f'none of its {total + coco.strays} annotations belongs to one of its images '
                'and to one of the classes (compare image_id and category_id with the ids)'
            )
        raise DatasetError(f'There is no object in the annotation file {coco.path}: {reason}.')
    fact = (
        f'{_count(len(coco.names), "picture")}, {_count(objects, "object")}, '
        f'{_count(len(classes), "class")} ({coco.path})'
    )
    if coco.strays:
        fact += f'; ignored: {_count(coco.strays, "annotation")} of unknown pictures or categories'
    return fact


def _check_counts(model: Any, classes: list[str], ann_file: str) -> None:
    wrong = [(name, count) for name, count in class_counts(model) if count != len(classes)]
    if wrong:
        found = ', '.join(f'{name} is {count}' for name, count in wrong)
        options = ' '.join(f'{name}={len(classes)}' for name, _ in wrong)
        raise DatasetError(
            f'The model has another number of classes than the data: {found}, but '
            f'{ann_file} is read with {_count(len(classes), "class")} ({_some(classes)}). '
            f'Where the model is wrong, add --cfg-options {options} ; where the data set is, write '
            'metainfo=dict(classes=(...)) into it.'
        )


def _check_pictures(coco: CocoFile, folder: str, hint: str) -> None:
    """Looks for the pictures by listing folders: one call for thousands on a network drive."""
    listed: dict[Path, frozenset[str]] = {}
    missing = []
    for name in coco.names:
        path = Path(folder, name)
        if path.parent not in listed:
            try:
                listed[path.parent] = frozenset(entry.name for entry in path.parent.iterdir())
            except OSError:
                listed[path.parent] = frozenset()
        # A listing tells apart what a file system may not: upper and lower case.
        if path.name not in listed[path.parent] and not path.is_file():
            missing.append(name)
    if missing:
        raise DatasetError(
            f'{len(missing)} of the {len(coco.names)} pictures that {coco.path} lists are not in '
            f'{_shown(folder)}: {_some(missing)}. {hint}'
        )


def _check_evaluators(cfg: Config | Mapping[str, Any], split: str) -> None:
    evaluators = cfg.get(f'{split}_evaluator') or ()
    for metric in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        ann_file = metric.get('ann_file') if isinstance(metric, Mapping) else None
        if not ann_file or metric.get('backend_args') or _is_remote(str(ann_file)):
            continue
        if not Path(ann_file).is_file():
            raise _missing(
                f'annotation file of {split}_evaluator',
                str(ann_file),
                'It is the one that the data set of this split reads; --data-root DIR moves both.',
            )


def _dataset_class(kind: Any) -> type | None:
    """The class that a config's ``type`` names; None where it cannot be known."""
    if inspect.isclass(kind):
        return kind
    try:
        from mmdet.registry import DATASETS
    except ImportError:
        return None
    return DATASETS.get(kind) if isinstance(kind, str) else None


def _is_shapes(kind: type | None) -> bool:
    if kind is None:
        return False
    from casvit_mm.datasets.shapes_dataset import ShapesDataset

    return issubclass(kind, ShapesDataset)


def _reads_coco(kind: type | None) -> bool:
    """Whether a class reads its file as mmdet's CocoDataset does, and not in a way of its own."""
    if kind is None:
        return False
    from mmdet.datasets import CocoDataset

    return issubclass(kind, CocoDataset) and all(
        getattr(kind, name) is getattr(CocoDataset, name)
        for name in ('load_data_list', 'parse_data_info')
    )


def _classes(dataset: Mapping[str, Any], kind: type | None) -> list[str] | None:
    """Class names of a data set: those of its config, else of its class; None where neither."""
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        classes = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise DatasetError(
                f"The config's metainfo has classes = {classes!r}, which is neither a list of "
                f'names nor a file of them. For one class, write classes=({classes!r},).'
            )
        classes = Path(classes).read_text(encoding='utf-8').splitlines()
    return None if classes is None else list(classes)


def _image_folder(dataset: Mapping[str, Any], root: str, reads_coco: bool) -> str | None:
    prefix = dataset.get('data_prefix') or {}
    if reads_coco and not isinstance(prefix.get('img'), str):
        raise DatasetError(
            f'The data set of type {_type_name(dataset)} (data_root {root!r}) does not say where '
            "its pictures are: write data_prefix=dict(img='FOLDER/') into it."
        )
    folder = prefix.get('img', prefix.get('img_path'))
    return _join(root, folder) if isinstance(folder, str) else None


def _loads_masks(dataset: Mapping[str, Any]) -> bool:
    return any(
        isinstance(step, Mapping) and step.get('with_mask')
        for step in dataset.get('pipeline') or ()
    )


def _where_from(kind: type | None, root: str, ann_file: str) -> str:
    """What to do where something of a data set is missing."""
    if _is_shapes(kind):
        return f'This generates it: {how_to_generate(root)}'
    if any(year in ann_file for year in ('train2017', 'val2017', 'test2017', 'test-dev2017')):
        return GET_COCO
    return '--data-root DIR points a config at another folder.'


def _need_folder(what: str, folder: str, hint: str) -> None:
    if not Path(folder).is_dir():
        raise _missing(what, folder, hint)


def _missing(what: str, path: str, hint: str) -> DatasetError:
    state = 'does not exist'
    if Path(path).exists():
        state = 'is a folder, not a file' if Path(path).is_dir() else 'is a file, not a folder'
    return DatasetError(f'The {what} {_shown(path)} {state}. {hint}')


def _shown(path: str) -> str:
    return path if Path(path).is_absolute() else f'{path} (in {Path.cwd()})'


def _join(root: str, path: str) -> str:
    # As mmengine's BaseDataset joins them.
    return path if not root or _is_remote(path) else str(Path(root, path))


def _is_remote(path: str) -> bool:
    return '://' in path


def _type_name(dataset: Mapping[str, Any]) -> str:
    kind = dataset.get('type')
    return getattr(kind, '__name__', str(kind))


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = list(names)
    shown = ', '.join(map(repr, names[:limit]))
    return f'{shown} and {len(names) - limit} more' if len(names) > limit else shown


def _as_tuple(names: Sequence[str]) -> str:
    return repr(tuple(names)) if len(names) <= 20 else f'({_some(names)})'


def _count(number: int, noun: str) -> str:
    plural = f'{noun}es' if noun.endswith('s') else f'{noun}s'
    return f'{number:,} {noun if number == 1 else plural}'
