"""What a config says about its data, whatever the task."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casvit.errors import DatasetError
from casvit.names import read_lines
from casvit.sentences import count_of, some
from casvit_mm.config.view import ConfigView
from casvit_mm.registration import registered_class


def check_counts(cfg: Mapping[str, Any], classes: list[str], source: str) -> None:
    """Compares every class count of a model with the classes of its data.

    Args:
        cfg: The config.
        classes: Names of the classes.
        source: File or folder that the data are read from.

    Raises:
        DatasetError: They differ.
    """
    wrong = [
        (name, count) for name, count in ConfigView(cfg).class_counts() if count != len(classes)
    ]
    if wrong:
        found = ', '.join(f'{name} is {count}' for name, count in wrong)
        options = ' '.join(f'{name}={len(classes)}' for name, _ in wrong)
        raise DatasetError(
            f'The model has another number of classes than the data: {found}, but '
            f'{source} is read with {count_of(len(classes), "class")} ({some(classes)}). '
            f'Where the model is wrong, add --cfg-options {options} ; where the dataset is, write '
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
    """Whether a dataset's class is, or inherits, one that may not be importable.

    Args:
        kind: The class; None where it is not known.
        module: Start of the dotted name of the module that the other is defined in.
        name: The other's name.
    """
    return kind is not None and any(
        base.__name__ == name and base.__module__.startswith(module) for base in kind.__mro__
    )


def config_classes(dataset: Mapping[str, Any], kind: type | None) -> list[str] | None:
    """Class names of a dataset: those of its config, else of its class; None where neither."""
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


def join(root: str, path: str) -> str:
    """A path of a dataset under its root."""
    # As mmengine's BaseDataset joins them.
    return path if not root or is_remote(path) else str(Path(root, path))


def is_remote(path: str) -> bool:
    """Whether a path is an address that only a file backend can open."""
    return '://' in path
