"""Reads from a config how images are prepared for its model, and the names of its classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from casvit.drawing.palette import object_palette
from casvit.results import Colour, default_palette
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.models.checkpoint.meta import is_palette
from casvit_mm.registration import registered_class

COLOUR = frozenset(('LoadImageFromFile', 'LoadImageFromNDArray', 'LoadImageFromWebcam'))
"""Steps that load RGB images, unless their ``color_type`` says otherwise."""


def is_loading(step: Mapping[str, Any]) -> bool:
    """Whether a step of a pipeline reads a file: an image or its annotations."""
    return type_name(step).startswith('Load')


def steps_in_memory(pipeline: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps of a pipeline for images that are already loaded and have no annotations."""
    return [step for step in pipeline if not is_loading(step)]


def own_loader(pipeline: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The step of a pipeline that loads images, if those are not RGB; None if they are."""
    for step in pipeline:
        if is_loading(step) and 'Annotation' not in type_name(step):
            rgb = type_name(step) in COLOUR and step.get('color_type', 'color') == 'color'
            return None if rgb else step
    return None


def loads_floats(pipeline: list[Mapping[str, Any]]) -> bool:
    """Whether a pipeline loads images as floats."""
    return any(is_loading(step) and step.get('to_float32') for step in pipeline)


def class_info(
    cfg: Mapping[str, Any], checkpoint: Mapping[str, Any], scope: str, count: int | None
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Names and colours of the classes: from the checkpoint if it has them, else from the config.

    Args:
        cfg: The config.
        checkpoint: The content of the checkpoint. Its names are ignored if their number is not
            the number of classes of the model.
        scope: The toolbox of the config.
        count: Number of classes of the model; None if it is not known.

    Returns:
        A name and an RGB colour for each class; for objects one that is visible as a thin line.
    """
    meta = _metainfo(cfg, checkpoint, scope, count)
    classes = tuple(meta['classes'])
    palette: Any = meta.get('palette')
    if not is_palette(palette) or len(palette) < len(classes):
        palette = default_palette(len(classes))
    colours = [(red, green, blue) for red, green, blue in palette]
    if scope != 'mmseg':
        colours = object_palette(colours, len(classes))
    return classes, tuple(colours)


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
    dataset = ConfigView(cfg).test_dataset() or {}
    known = {
        **_metainfo_of_type(dataset.get('type'), scope),
        **(dataset.get('metainfo') or {}),
        **saved,
    }
    classes = known.get('classes')
    if isinstance(classes, str) and Path(classes).is_file():
        # As in mmengine's datasets.
        classes = Path(classes).read_text(encoding='utf-8').splitlines()
    names = list(classes) if isinstance(classes, (list, tuple)) else []
    # The dataset has no names for further classes of the model.
    names += [f'class {index}' for index in range(len(names), count or 0)]
    return {**known, 'classes': names}


def _metainfo_of_type(kind: Any, scope: str) -> Mapping[str, Any]:
    """The ``METAINFO`` of a dataset class."""
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registered_class(registry, kind)
    return getattr(kind, 'METAINFO', None) or {}
