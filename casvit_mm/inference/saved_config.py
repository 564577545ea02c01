"""Reads the config in a checkpoint as data: nothing in it is run or looked up.

A training run saves its config as text under ``meta.cfg``. A checkpoint may come from anyone, so
the text is parsed with :mod:`ast` and may hold only values. Of these, only what inference needs is
used: the model, the test pipeline, and the classes of its dataset. Anything that could reach beyond
the config (modules, files, URLs, expressions that mm* evaluate) is refused with a message that asks
the user for a config.
"""

import importlib
import re
from collections.abc import Callable, Container, Mapping, Sequence
from types import ModuleType
from typing import Any

from mmengine.config import Config

from casvit.errors import UserError
from casvit_mm.config.view import ConfigView
from casvit_mm.inference.config_text import RefusedError, short_of, shortened, text_of, values_of
from casvit_mm.inference.pipeline import is_loading
from casvit_mm.models.checkpoint.meta import is_names, is_palette
from casvit_mm.models.mixers import TOKEN_MIXERS
from casvit_mm.models.optional import TOOLBOXES, import_toolbox

IMPORTED = frozenset(('casvit_mm', 'casvit_mm.safe_loading'))
# Nothing that mm* evaluate, import, open or download matches this.
WORD = re.compile(r'[A-Za-z0-9_ -]*')
# Keys under which some models name files or hub models, even as plain words.
OUTSIDE = re.compile(r'(^|_)(checkpoint|ckpt|config|dir|file|model_name|path|root|url)s?(_|$)')
WEIGHTS = ('init_cfg', 'pretrained')


class SavedConfigError(UserError, ValueError):
    """The config in a checkpoint cannot be used; the message says why and asks for a config."""


def read_saved_config(text: Any, source: str, instead: str = "config='...'") -> Config:
    """Reads the config that a training run saved in its checkpoint.

    Args:
        text: The value of ``meta.cfg`` in the checkpoint.
        source: Name of the checkpoint, for messages.
        instead: How another config is given, for messages.

    Returns:
        A config with ``default_scope``, ``model`` without paths of pretrained weights, and a
        ``test_dataloader`` whose dataset has a pipeline, a type and the ``metainfo`` of its
        classes.

    Raises:
        SavedConfigError: There is no config, or it holds more than data of known types.
    """
    if text is None:
        raise SavedConfigError(
            f'{source} contains no config, so its model is unknown: pass the config that it was '
            f'trained with, {instead}.'
        )
    try:
        return Config(_usable(values_of(text), _Types))
    except RefusedError as refused:
        raise SavedConfigError(
            f'The config in {source} is refused: {refused}. Pass the config that it was trained '
            f'with, {instead}.'
        ) from refused


def plain_config(text: Any, source: str) -> str:
    """The text of a saved config, with what :func:`read_saved_config` would return.

    For code that executes the text, as mmengine's inferencers do: it holds values only. Types are
    not looked up, and have no module that looking them up would import.

    Args:
        text: As for :func:`read_saved_config`.
        source: Name of the checkpoint, for messages.

    Raises:
        SavedConfigError: It holds more than data.
    """
    try:
        usable = _usable(values_of(text), _AnyTypes)
    except RefusedError as refused:
        raise SavedConfigError(f'The config in {source} is refused: {refused}.') from refused
    # The usual one instead of that of the file: inferencers do not work without any.
    usable['visualizer'] = dict(type=ConfigView(usable).visualizer, name='visualizer')
    return text_of(usable)


def read_saved_recipe(text: Any, scope: str) -> dict[str, Any]:
    """Reads the optimiser of the config that a training run saved in its checkpoint.

    Args:
        text: As for :func:`read_saved_config`.
        scope: The toolbox of the config.

    Returns:
        ``optim_wrapper`` and ``auto_scale_lr``, with which a model that starts from the checkpoint
        can be trained; empty if there are none, or if they hold more than data of known types.
    """
    try:
        values = values_of(text)
        types = _Types(scope).of_optimizers
        wrapper, scale = values.get('optim_wrapper'), values.get('auto_scale_lr')
        if not isinstance(wrapper, Mapping) or not isinstance(scale, Mapping):
            return {}
        if not _is_recipe(wrapper.get('optimizer'), scale):
            return {}
        return dict(
            # Mixed precision belongs to a machine, not to a model.
            optim_wrapper={**_checked(wrapper, 'optim_wrapper', types), 'type': 'OptimWrapper'},
            auto_scale_lr=dict(base_batch_size=scale['base_batch_size']),
        )
    except RefusedError:
        return {}


def _is_recipe(optimizer: Any, scale: Mapping[str, Any]) -> bool:
    rate = optimizer.get('lr') if isinstance(optimizer, Mapping) else None
    return (
        isinstance(rate, float) and 0 < rate < 1 and isinstance(scale.get('base_batch_size'), int)
    )


def _usable(values: dict[str, Any], types: 'Callable[[str], _Types | _AnyTypes]') -> dict[str, Any]:
    """The values of a config that inference needs, checked to be harmless."""
    if '_base_' in values:
        raise RefusedError('it inherits from other files (_base_)')
    imports = values.get('custom_imports')
    modules = imports.get('imports') if isinstance(imports, Mapping) else imports
    modules = [modules] if isinstance(modules, str) else modules or []
    ours = isinstance(modules, (list, tuple)) and all(
        isinstance(each, str) and each in IMPORTED for each in modules
    )
    if not ours:
        raise RefusedError(f'it imports {short_of(imports)} (custom_imports)')
    scope = values.get('default_scope', 'mmdet')
    if not isinstance(scope, str) or scope not in TOOLBOXES:
        raise RefusedError(f'its default_scope is {short_of(scope)}, not {" or ".join(TOOLBOXES)}')
    model = values.get('model')
    if not isinstance(model, Mapping):
        raise RefusedError('it has no model')
    if isinstance(values.get('data_preprocessor'), Mapping):
        # As mmengine's runner joins them.
        model = {'data_preprocessor': values['data_preprocessor'], **model}
    dataset = ConfigView(values).test_dataset()
    if dataset is None or not isinstance(dataset['pipeline'], (list, tuple)):
        raise RefusedError('it has no test_dataloader whose dataset has a pipeline')
    known = types(scope)
    pipeline = [_without_files(step) for step in dataset['pipeline']]
    return dict(
        default_scope=scope,
        model=_checked(model, 'model', known.of_models),
        test_dataloader=dict(
            dataset=dict(
                type=_checked_type(dataset.get('type'), 'its dataset', known.of_datasets),
                metainfo=_class_names(dataset.get('metainfo')),
                pipeline=_checked(pipeline, 'pipeline', known.of_transforms),
            )
        ),
    )


def _without_files(step: Any) -> Any:
    """A step of a pipeline; a loading step is reduced to what matters for an image in memory."""
    if not isinstance(step, Mapping) or not is_loading(step):
        return step
    return {key: step[key] for key in ('type', 'to_float32', 'color_type') if key in step}


def _class_names(metainfo: Any) -> dict[str, Any]:
    if not isinstance(metainfo, Mapping):
        return {}
    tests: dict[str, Callable[[object], bool]] = {'classes': is_names, 'palette': is_palette}
    return {key: metainfo[key] for key, test in tests.items() if test(metainfo.get(key))}


def _checked(value: Any, where: str, types: Container[str]) -> Any:
    """Checks that types are known and strings are plain words; removes pretrained weights."""
    if isinstance(value, Mapping):
        checked: dict[Any, Any] = {}
        for key, inner in value.items():
            place = f'{where}.{key}'
            if key in WEIGHTS:
                checked[key] = None
            elif key == 'type':
                checked[key] = inner if inner is None else _checked_type(inner, where, types)
            elif isinstance(key, str) and (
                not WORD.fullmatch(key)
                or key.startswith('_')
                or (OUTSIDE.search(key) and isinstance(inner, str))
            ):
                raise RefusedError(
                    f'{shortened(place)} = {short_of(inner)} may refer to something outside of it'
                )
            else:
                checked[key] = _checked(inner, place, types)
        return checked
    if isinstance(value, (list, tuple)):
        return type(value)(_checked(each, f'{where}.{i}', types) for i, each in enumerate(value))
    if isinstance(value, str) and not WORD.fullmatch(value):
        raise RefusedError(f'{where} = {short_of(value)} may be a path, a URL or code')
    return value


def _checked_type(value: Any, where: str, types: Container[str]) -> str:
    if not isinstance(value, str):
        raise RefusedError(f'the type of {where} is {short_of(value)}, not a name')
    if value not in types:
        raise RefusedError(f'the type of {where}, {short_of(value)}, is not registered')
    return value


class _Types:
    """The names that are registered for a toolbox, found without looking any of them up.

    ``Registry.get`` imports dotted names, so it is only called for names that are known here.

    Args:
        scope: mmdet, mmseg or mmpretrain.
    """

    def __init__(self, scope: str) -> None:
        import_toolbox(scope)
        self._scope = scope

    @property
    def of_models(self) -> Container[str]:
        """Names of model parts and token mixers, and of operators that mmcv looks up by name."""
        from mmcv import ops

        registries = ('MODELS', 'TASK_UTILS', 'BATCH_AUGMENTS')
        return _Names(self._scope, registries, frozenset((*ops.__all__, *TOKEN_MIXERS.module_dict)))

    @property
    def of_transforms(self) -> Container[str]:
        """Names of pipeline steps."""
        return _Names(self._scope, ('TRANSFORMS',))

    @property
    def of_optimizers(self) -> Container[str]:
        """Names of optimisers and of what sets them up."""
        return _Names(self._scope, ('OPTIMIZERS', 'OPTIM_WRAPPERS'))

    @property
    def of_datasets(self) -> Container[str]:
        """Names of datasets."""
        return _Names(self._scope, ('DATASETS',))


class _AnyTypes:
    """Names that no registry would import, whether it knows them or not.

    Args:
        scope: The toolbox.
    """

    def __init__(self, scope: str) -> None:
        self.of_models = self.of_transforms = self.of_datasets = _AnyNames()


class _AnyNames(Container[str]):
    """Names without a dot, or behind the scope of a toolbox."""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        scope, dot, bare = name.rpartition('.')
        return bare.isidentifier() and (not dot or scope in TOOLBOXES)


class _Names(Container[str]):
    """Names in the registries of a toolbox, and those of another one behind its scope.

    Args:
        scope: The toolbox whose names need no scope.
        registries: Names of the registries.
        others: Further names.
    """

    def __init__(
        self, scope: str, registries: Sequence[str], others: frozenset[str] = frozenset()
    ) -> None:
        self._scope, self._registries, self._others = scope, registries, others
        self._found: dict[str, frozenset[str]] = {}

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        scope, dot, bare = name.rpartition('.')
        if not dot:
            return name in self._others or name in self._of(self._scope)
        # As mmseg's Mask2Former names parts of mmdet.
        return scope in TOOLBOXES and bare in self._of(scope)

    def _of(self, scope: str) -> frozenset[str]:
        if scope not in self._found:
            import_toolbox(scope)
            self._found[scope] = self._names(importlib.import_module(f'{scope}.registry'))
        return self._found[scope]

    def _names(self, module: ModuleType) -> frozenset[str]:
        names: set[str] = set()
        for name in self._registries:
            registry = getattr(module, name, None)
            if registry is not None:
                registry.import_from_location()
            while registry is not None:
                names |= registry.module_dict.keys()
                registry = registry.parent
        return frozenset(names)
