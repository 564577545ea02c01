"""Where a config says how images are prepared for its model, and what its classes are called."""

import contextlib
import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from casvit.errors import MissingPackageError
from casvit.results import Colour, default_palette
from casvit_mm.models.checkpoint_meta import is_palette

SCOPES = ('mmdet', 'mmseg', 'mmpretrain')
"""The toolboxes whose models are used: the ``default_scope`` of a config."""


def require_toolbox(scope: str) -> None:
    """Imports the models and datasets of a toolbox of OpenMMLab.

    Args:
        scope: One of :data:`SCOPES`.

    Raises:
        MissingPackageError: It cannot; says why, and what to install.
    """
    try:
        # Its datasets print of packages that nothing here needs.
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(f'{scope}.models')
            importlib.import_module(f'{scope}.datasets')
    # An installation that is broken raises anything while it is imported.
    except Exception as error:
        raise MissingPackageError(
            f'This model needs {scope}, which cannot be imported here ({error}): run '
            "tools/install.py, or pip install 'casvit-mm[maintained]'."
        ) from error


def inner_test_dataset(cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first dataset with a pipeline of a config's test data, inside whatever wrappers.

    Args:
        cfg: The config.

    Returns:
        Its dict; None if there is none.
    """
    loader = cfg.get('test_dataloader')
    waiting = [loader.get('dataset') if isinstance(loader, Mapping) else None]
    while waiting:
        dataset = waiting.pop(0)
        if isinstance(dataset, (list, tuple)):
            waiting = [*dataset, *waiting]
        elif isinstance(dataset, Mapping):
            # Names of mmengine's wrappers: RepeatDataset has one dataset, ConcatDataset several.
            inner = [dataset[key] for key in ('dataset', 'datasets') if dataset.get(key)]
            if not inner and dataset.get('pipeline'):
                return dataset
            waiting = [*inner, *waiting]
    return None


def is_loading(step: Mapping[str, Any]) -> bool:
    """Whether a step of a pipeline reads a file: an image, or its annotations."""
    return _name(step).startswith('Load')


def steps_in_memory(pipeline: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps of a pipeline for images that are loaded already, and have no annotations."""
    return [step for step in pipeline if not is_loading(step)]


def loads_floats(pipeline: list[Mapping[str, Any]]) -> bool:
    """Whether a pipeline goes on with floats."""
    return any(is_loading(step) and step.get('to_float32') for step in pipeline)


def class_info(
    cfg: Mapping[str, Any], checkpoint: Mapping[str, Any], scope: str, count: int | None
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Names and colours of classes: those of the weights if they tell, else of the config's data.

    Args:
        cfg: The config.
        checkpoint: The content of the weights' file. Names that are not as many as the classes of
            the model are not its names.
        scope: The toolbox of the config.
        count: How many classes the model tells apart; None if it is not known.

    Returns:
        As many names as classes, and as many RGB colours.
    """
    meta = _metainfo(cfg, checkpoint, scope, count)
    classes = tuple(meta['classes'])
    palette = meta.get('palette')
    if not is_palette(palette) or len(palette) < len(classes):
        palette = default_palette(len(classes))
    return classes, tuple(tuple(colour) for colour in palette)


def _name(step: Mapping[str, Any]) -> str:
    """The name of a transform, which a config gives with or without scope, or as its class."""
    kind = step.get('type')
    if isinstance(kind, str):
        return kind.rsplit('.', 1)[-1]
    return getattr(kind, '__name__', '')


def _metainfo(
    cfg: Mapping[str, Any], checkpoint: Mapping[str, Any], scope: str, count: int | None
) -> dict[str, Any]:
    meta = checkpoint.get('meta') or {}
    saved = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
    for key in ('CLASSES', 'PALETTE'):
        if meta.get(key) is not None:
            saved.setdefault(key.lower(), meta[key])
    if count is not None and len(saved.get('classes') or ()) != count:
        saved = {}
    if saved.get('classes') and saved.get('palette'):
        return saved
    dataset = inner_test_dataset(cfg) or {}
    known = {
        **_metainfo_of_type(dataset.get('type'), scope),
        **(dataset.get('metainfo') or {}),
        **saved,
    }
    classes = known.get('classes')
    if isinstance(classes, str) and Path(classes).is_file():
        # As mmengine's datasets read it.
        classes = Path(classes).read_text(encoding='utf-8').splitlines()
    names = list(classes) if isinstance(classes, (list, tuple)) else []
    # What a model of more classes finds has no name in the data.
    names += [f'class {index}' for index in range(len(names), count or 0)]
    return {**known, 'classes': names}


def _metainfo_of_type(kind: Any, scope: str) -> Mapping[str, Any]:
    """What the class of a dataset says of its data."""
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    return getattr(kind, 'METAINFO', None) or {}
