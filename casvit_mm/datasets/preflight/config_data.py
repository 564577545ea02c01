"""The data of a config, whatever the task."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from mmengine.dataset import BaseDataset

from casvit.errors import DatasetError
from casvit.names import read_lines
from casvit.sentences import count_of, some
from casvit_mm.config.view import ConfigView, nested, type_name
from casvit_mm.registration import registered_class


def check_counts(cfg: Mapping[str, Any], classes: list[str], source: str) -> None:
    """Compares every class count of a model with the classes of its data.

    Args:
        cfg: The config.
        classes: Names of the classes.
        source: The file or folder that the data are read from.

    Raises:
        DatasetError: They differ.
    """
    view = ConfigView(cfg)
    # The heads of a model that reads class names compare with texts, of which they count the words.
    if any('language_model' in part for part in nested(view.model)):
        return
    wrong = [(name, count) for name, count in view.counts_that_matter() if count != len(classes)]
    if wrong:
        found = ', '.join(f'{name} is {count}' for name, count in wrong)
        options = ' '.join(f'{name}={len(classes)}' for name, _ in wrong)
        raise DatasetError(
            f'The model and the data differ in their number of classes: {found}, but '
            f'{source} is read with {count_of(len(classes), "class")} ({some(classes)}). '
            f'To change the model, add --cfg-options {options} ; to change the dataset, set '
            'metainfo=dict(classes=(...)) in it.'
        )


def dataset_class(kind: object, toolbox: str) -> type | None:
    """Looks up the class that a config's ``type`` names; None if it is unknown.

    Args:
        kind: The ``type``.
        toolbox: The toolbox whose registry is used: mmdet, mmseg or mmpretrain.
    """
    if inspect.isclass(kind):
        return kind
    try:
        registry = importlib.import_module(f'{toolbox}.registry')
    except ImportError:
        return None
    return registered_class(registry.DATASETS, kind) if isinstance(kind, str) else None


def inherits(kind: type | None, module: str, name: str) -> TypeGuard[type]:
    """Whether a dataset class is, or inherits from, a class that may not be importable.

    Args:
        kind: The class; None if it is unknown.
        module: Start of the dotted name of the module that defines the other class.
        name: Name of the other class.
    """
    return kind is not None and any(
        base.__name__ == name and base.__module__.startswith(module) for base in kind.__mro__
    )


def config_classes(dataset: Mapping[str, Any], kind: type | None) -> list[str] | None:
    """Class names of a dataset, from its config or else its class; None if neither has any."""
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        classes = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise DatasetError(
                f"The config's metainfo has classes = {classes!r}, which is neither a list of "
                f'names nor a file with them. For one class, write classes=({classes!r},).'
            )
        lines = read_lines(Path(classes))
        classes = lines[:-1] if not lines[-1] else lines
    return None if classes is None else list(classes)


def several_files(dataset: Mapping[str, Any], kind: type | None, split: str) -> str:
    """Describes a dataset whose ``ann_file`` is a list, which only some classes read.

    Raises:
        DatasetError: The class reads one file.
    """
    files, name = list(map(str, dataset['ann_file'])), type_name(dataset)
    if getattr(kind, '_join_prefix', None) is BaseDataset._join_prefix:
        raise DatasetError(
            f'The dataset of type {name} names {len(files)} annotation files ({some(files)}), but '
            "reads one: give each a dataset of its own in dict(type='ConcatDataset', "
            'datasets=[...]).'
        )
    return f'{split}: {some(files)} (type {name}) was not checked'
