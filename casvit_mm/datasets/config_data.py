"""What a config says about its data, whatever the task."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.names import read_lines
from casvit_mm.datasets.sentences import count_of, some
from casvit_mm.registration import registered_class

# Parts of a detector whose num_classes counts something else than the classes of the data.
_OTHER_COUNTS = frozenset(
    ('rpn_head', 'data_preprocessor', 'backbone', 'neck', 'semantic_head', 'panoptic_fusion_head')
)


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


def pipeline_steps(pipeline: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a pipeline, and those within steps, as of a test-time augmentation.

    Args:
        pipeline: The ``pipeline`` of a dataset's config.
    """
    if isinstance(pipeline, Mapping):
        yield pipeline
        for value in pipeline.values():
            yield from pipeline_steps(value)
    elif isinstance(pipeline, (list, tuple)):
        for step in pipeline:
            yield from pipeline_steps(step)


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


def check_counts(model: Any, classes: list[str], source: str) -> None:
    """Compares every class count of a model with the classes of its data.

    Args:
        model: The model's config.
        classes: Names of the classes.
        source: File or folder that the data are read from.

    Raises:
        DatasetError: They differ.
    """
    wrong = [(name, count) for name, count in class_counts(model) if count != len(classes)]
    if wrong:
        found = ', '.join(f'{name} is {count}' for name, count in wrong)
        options = ' '.join(f'{name}={len(classes)}' for name, _ in wrong)
        raise DatasetError(
            f'The model has another number of classes than the data: {found}, but '
            f'{source} is read with {count_of(len(classes), "class")} ({some(classes)}). '
            f'Where the model is wrong, add --cfg-options {options} ; where the data set is, write '
            'metainfo=dict(classes=(...)) into it.'
        )


def dataset_class(kind: Any, toolbox: str) -> type | None:
    """The class that a config's ``type`` names; None where it cannot be known.

    Args:
        kind: The ``type``.
        toolbox: Whose names it is to be looked up in: mmdet, mmseg or mmpretrain.
    """
    if inspect.isclass(kind):
        return kind
    try:
        registry = importlib.import_module(f'{toolbox}.registry')
    except ImportError:
        return None
    return registered_class(registry.DATASETS, kind) if isinstance(kind, str) else None


def inherits(kind: type | None, module: str, name: str) -> bool:
    """Whether a data set's class is, or inherits, one that may not be importable.

    Args:
        kind: The class; None where it is not known.
        module: Start of the dotted name of the module that the other is defined in.
        name: The other's name.
    """
    return kind is not None and any(
        base.__name__ == name and base.__module__.startswith(module) for base in kind.__mro__
    )


def config_classes(dataset: Mapping[str, Any], kind: type | None) -> list[str] | None:
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
        lines = read_lines(Path(classes))
        classes = lines[:-1] if not lines[-1] else lines
    return None if classes is None else list(classes)


def type_name(dataset: Mapping[str, Any]) -> str:
    """The name of a data set's type."""
    kind = dataset.get('type')
    return getattr(kind, '__name__', str(kind))


def join(root: str, path: str) -> str:
    """A path of a data set under its root."""
    # As mmengine's BaseDataset joins them.
    return path if not root or is_remote(path) else str(Path(root, path))


def is_remote(path: str) -> bool:
    """Whether a path is an address that only a file backend can open."""
    return '://' in path
