"""Registers names on ``import casvit_mm``; their classes are imported when they are built.

Most of the classes inherit from OpenMMLab's, which take seconds to import, and a run builds only a
few of them. So mmengine's root registries, where every scope looks last, get a factory for each
class; importing the module of a class replaces the factory with the class.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    RUNNERS,
    TRANSFORMS,
    Registry,
)

from casvit.weights.find import SCHEME

LOADERS = 'mmengine.runner.checkpoint'

CLASSES: dict[Registry, dict[str, str]] = {
    MODELS: {
        'CASViT': 'casvit_mm.models.casvit',
        'CASViTClassifier': 'casvit_mm.models.classifier',
        'CASViTClsHead': 'casvit_mm.models.classifier',
        'ExportedPredictor': 'casvit_mm.inference.exported_predictor',
        'HorNetPyramid': 'casvit_mm.models.pyramids.hornet_pyramid',
        'InstanceTTAModel': 'casvit_mm.engine.tta',
        'LightEncoderDecoder': 'casvit_mm.models.light_segmentor',
        'LightMaskHead': 'casvit_mm.models.light_mask_head',
        'SeparableConv2d': 'casvit_mm.models.separable_conv',
        'SteadyFocalLoss': 'casvit_mm.models.losses.focal_loss',
        'TimmPyramid': 'casvit_mm.models.pyramids.timm_pyramid',
    },
    DATASETS: {
        'PairsDataset': 'casvit_mm.datasets.pairs_dataset',
        'SemanticShapesDataset': 'casvit_mm.datasets.shapes.semantic_shapes_dataset',
        'ShapesDataset': 'casvit_mm.datasets.shapes.shapes_dataset',
        'SingleShapesDataset': 'casvit_mm.datasets.shapes.single_shapes_dataset',
    },
    TRANSFORMS: {
        'CachedCopyPaste': 'casvit_mm.datasets.copy_paste',
        'LoadBands': 'casvit_mm.datasets.bands',
        'MultiScaleRandomResizedCrop': 'casvit_mm.engine.samplers',
        'NormalizeBands': 'casvit_mm.datasets.bands',
    },
    DATA_SAMPLERS: {
        'MultiScaleBatchSampler': 'casvit_mm.engine.samplers',
        'PositionedBatchSampler': 'casvit_mm.engine.exact.positions',
    },
    HOOKS: {
        'AccelerationHook': 'casvit_mm.engine.hooks.acceleration',
        'DrawTestHook': 'casvit_mm.engine.hooks.draw_predictions',
        'LabelRangeHook': 'casvit_mm.engine.hooks.label_range',
        'NormalisationHook': 'casvit_mm.engine.hooks.normalisation',
        'PreviewHook': 'casvit_mm.engine.hooks.preview',
        'ProgressiveSizeHook': 'casvit_mm.engine.hooks.progressive_size',
        'SafeCheckpointHook': 'casvit_mm.engine.hooks.safe_checkpoint',
        'StopOnInvalidLossHook': 'casvit_mm.engine.hooks.invalid_loss',
        'UnreadableFilesHook': 'casvit_mm.engine.hooks.unreadable_files',
    },
    LOOPS: {
        'ExactEpochLoop': 'casvit_mm.engine.exact.loops',
        'ExactIterLoop': 'casvit_mm.engine.exact.loops',
    },
    OPTIM_WRAPPERS: {'BFloat16OptimWrapper': 'casvit_mm.engine.optim.bfloat16'},
    OPTIM_WRAPPER_CONSTRUCTORS: {
        'CASViTLayerDecayConstructor': 'casvit_mm.engine.optim.layer_decay',
        'GroupedOptimWrapperConstructor': 'casvit_mm.engine.optim.param_groups',
    },
    RUNNERS: {'CASViTRunner': 'casvit_mm.engine.runner'},
}
"""The classes of each root registry: the names used in configs, and their modules."""

Class = TypeVar('Class', bound=type)

_loaders: dict[Callable[..., Any], Callable[[], type]] = {}


def register_classes() -> None:
    """Registers a factory for every class of :data:`CLASSES`; a second call changes nothing.

    Raises:
        KeyError: Another class is registered under one of the names.
    """
    for registry, classes in CLASSES.items():
        for name, module in classes.items():
            if not _is_ours(registry.module_dict.get(name), module):
                registry.register_module(name, module=_factory(registry, name, module))


def register_scheme(loaders: ModuleType | None = None) -> None:
    """Registers ``casvit://`` at mmengine's loaders of checkpoints, if they are imported.

    So that code that does not read checkpoints with this package knows the names of published
    weights too: inferencers, the toolboxes' own tools, ``init_cfg`` of other models. Importing the
    loaders would import torch; if nothing has needed them yet, the module of CASViT does it later.

    Args:
        loaders: mmengine's module of loaders; by default as it was imported.
    """
    loaders = loaders or sys.modules.get(LOADERS)
    if loaders is not None:
        loaders.CheckpointLoader.register_scheme(SCHEME, load_from_casvit, force=True)


def load_from_casvit(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads published weights, as mmengine calls the loader of a scheme.

    Args:
        filename: ``casvit://NAME``.
        map_location: Device of the tensors, as in ``torch.load``; the CPU if None.

    Returns:
        The content of the file; see :func:`casvit_mm.models.checkpoint.read_checkpoint`.

    Raises:
        CheckpointError: The name is unknown, or its file is not on this machine.
    """
    read = importlib.import_module('casvit_mm.models.checkpoint.read')
    return read.read_checkpoint(filename, 'cpu' if map_location is None else map_location)


def registered_in(registry: Registry) -> Callable[[Class], Class]:
    """Registers a class of :data:`CLASSES` in place of its factory.

    mmengine's own decorator with ``force=True`` would also replace a class that the user
    registered under the same name before this one was imported.

    Args:
        registry: A root registry, or the registry of the toolbox whose class is inherited from;
            the class is added to it and to its root.

    Returns:
        The decorator.
    """

    def register(cls: Class) -> Class:
        for place in (registry, registry.root):
            registered = place.module_dict.get(cls.__name__)
            if registered is None or _is_ours(registered, cls.__module__):
                place.register_module(force=True, module=cls)
        return cls

    return register


def registered_class(registry: Registry, name: str) -> Any:
    """Looks up a registered class without building it.

    Args:
        registry: Any registry, of a toolbox or of mmengine.
        name: The ``type`` in a config.

    Returns:
        The result of ``registry.get``, with the class in place of a factory of this package; None
        if the name is unknown.

    Raises:
        MissingPackageError: The class needs a package that cannot be imported.
    """
    found = registry.get(name)
    load = _loaders.get(found)
    return load() if load else found


def _is_ours(registered: Any, module: str) -> bool:
    """Whether the registered object is the class of a module, or its factory."""
    return getattr(registered, '__module__', None) == module


def _factory(registry: Registry, name: str, module: str) -> Callable[..., Any]:
    def load() -> type:
        return getattr(importlib.import_module(module), name)

    def build(*args: Any, **kwargs: Any) -> Any:
        return load()(*args, **kwargs)

    package = '.'.join(module.split('.')[:2])
    # For mmengine's messages and help().
    build.__name__ = build.__qualname__ = name
    build.__module__ = module
    build.__doc__ = (
        f'Builds a {name} from the arguments of the class, which is imported on the first call.\n\n'
        f'For the class and its documentation: ``from {package} import {name}``.'
    )
    if registry is RUNNERS:
        # mmengine builds runners with this method of their class.
        cast(Any, build).from_cfg = lambda cfg: cast(Any, load()).from_cfg(cfg)
    _loaders[build] = load
    return build
