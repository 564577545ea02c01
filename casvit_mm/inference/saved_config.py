"""Reads the config in a checkpoint as data: nothing in it is run or looked up.

A training run saves its config as text under ``meta.cfg``. A checkpoint may come from anyone, so
the text is parsed with :mod:`ast` and may hold only values. Of these, only what inference needs is
used: the model, the test pipeline, and the classes of its dataset. Anything that could reach beyond
the config (modules, files, URLs, expressions that mm* evaluate) is refused with a message that asks
the user for a config.
"""

import ast
import importlib
import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from types import ModuleType
from typing import Any

from mmengine.config import Config

from casvit.errors import UserError
from casvit.names import printable
from casvit_mm.config.view import ConfigView
from casvit_mm.inference.pipeline import is_loading
from casvit_mm.models.checkpoint.meta import is_names, is_palette
from casvit_mm.models.optional import TOOLBOXES, import_toolbox

# A config that lists the names and colours of 1,203 classes three times has two thirds of this.
LONGEST = 1_000_000
DEEPEST = 60
IMPORTED = ('casvit_mm', ['casvit_mm'], ('casvit_mm',))
# Nothing that mm* evaluate, import, open or download matches this.
WORD = re.compile(r'[A-Za-z0-9_ -]*')
# Keys under which some models name files or hub models, even as plain words.
OUTSIDE = re.compile(r'(^|_)(checkpoint|ckpt|config|dir|file|model_name|path|root|url)s?(_|$)')
WEIGHTS = ('init_cfg', 'pretrained')
NUMBERS = {'inf': math.inf, 'nan': math.nan}
SHOWN = 60


class SavedConfigError(UserError, ValueError):
    """The config in a checkpoint cannot be used; the message says why and asks for a config."""


class _RefusedError(Exception):
    """The reason why a config is refused, without the name of its checkpoint."""


def read_saved_config(text: Any, source: str) -> Config:
    """Reads the config that a training run saved in its checkpoint.

    Args:
        text: The value of ``meta.cfg`` in the checkpoint.
        source: Name of the checkpoint, for messages.

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
            "trained with, config='...'."
        )
    try:
        return Config(_usable(_values(text)))
    except _RefusedError as refused:
        raise SavedConfigError(
            f'The config in {source} is refused: {refused}. Pass the config that it was trained '
            "with, config='...'."
        ) from refused


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
        values = _values(text)
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
    except _RefusedError:
        return {}


def _is_recipe(optimizer: Any, scale: Mapping[str, Any]) -> bool:
    rate = optimizer.get('lr') if isinstance(optimizer, Mapping) else None
    return (
        isinstance(rate, float) and 0 < rate < 1 and isinstance(scale.get('base_batch_size'), int)
    )


def _values(text: Any) -> dict[str, Any]:
    """The values that a text assigns to names."""
    if not isinstance(text, str):
        raise _RefusedError(f'it is of type {type(text).__name__}, not text')
    if len(text) > LONGEST:
        raise _RefusedError(f'it has {len(text):,} characters, more than {LONGEST:,}')
    try:
        values = {}
        for statement in ast.parse(text).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = _value(value, text)
                case _:
                    raise _RefusedError(f'{_quoted(statement, text)} is not a value')
        return values
    except SyntaxError as error:
        reason = f'line {error.lineno}: {_shortened(str(error.msg))}'
        raise _RefusedError(f'it is not Python data ({reason})') from error
    except (ValueError, RecursionError, MemoryError) as error:
        # Nested so deeply that the parser gives up.
        reason = str(error) or type(error).__name__
        raise _RefusedError(f'it is not Python data ({reason})') from error


def _value(node: ast.expr, text: str, depth: int = 0) -> Any:
    """The value of an expression of literals."""
    if depth > DEEPEST:
        raise _RefusedError(f'it is nested more than {DEEPEST} levels deep')
    deeper = depth + 1
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str()):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id='inf')):
            return -math.inf
        # mmengine writes numbers without a literal this way.
        case ast.Name(id='inf' | 'nan' as name):
            return NUMBERS[name]
        case ast.List(elts=items):
            return [_value(item, text, deeper) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item, text, deeper) for item in items)
        case ast.Dict(keys=keys, values=values):
            return {
                _key(key, text): _value(value, text, deeper)
                for key, value in zip(keys, values, strict=True)
            }
        case ast.Call(func=ast.Name(id='dict'), args=[] | [ast.Dict()] as given, keywords=named):
            result = _value(given[0], text, deeper) if given else {}
            for keyword in named:
                if keyword.arg is None:
                    raise _RefusedError(f'{_quoted(keyword.value, text)} is not a value')
                result[keyword.arg] = _value(keyword.value, text, deeper)
            return result
    raise _RefusedError(f'{_quoted(node, text)} is not a value')


def _key(node: ast.expr | None, text: str) -> str | int:
    match node:
        case ast.Constant(value=str() | int() as key):
            return key
    raise _RefusedError(f'{_quoted(node, text) if node else "**"} is not a key')


def _quoted(node: ast.expr | ast.stmt, text: str) -> str:
    line = text.splitlines()[node.lineno - 1 : node.lineno]
    return f'line {node.lineno} ({_shortened("".join(line).strip())})'


def _usable(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a config that inference needs, checked to be harmless."""
    if '_base_' in values:
        raise _RefusedError('it inherits from other files (_base_)')
    imports = values.get('custom_imports')
    if imports is not None and (
        not isinstance(imports, Mapping) or imports.get('imports') not in IMPORTED
    ):
        raise _RefusedError(f'it imports {_short(imports)} (custom_imports)')
    scope = values.get('default_scope', 'mmdet')
    if not isinstance(scope, str) or scope not in TOOLBOXES:
        raise _RefusedError(f'its default_scope is {_short(scope)}, not {" or ".join(TOOLBOXES)}')
    model = values.get('model')
    if not isinstance(model, Mapping):
        raise _RefusedError('it has no model')
    if isinstance(values.get('data_preprocessor'), Mapping):
        # As mmengine's runner joins them.
        model = {'data_preprocessor': values['data_preprocessor'], **model}
    dataset = ConfigView(values).test_dataset()
    if dataset is None or not isinstance(dataset['pipeline'], (list, tuple)):
        raise _RefusedError('it has no test_dataloader whose dataset has a pipeline')
    import_toolbox(scope)
    known = _Types(scope)
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
                raise _RefusedError(
                    f'{_shortened(place)} = {_short(inner)} may refer to something outside of it'
                )
            else:
                checked[key] = _checked(inner, place, types)
        return checked
    if isinstance(value, (list, tuple)):
        return type(value)(_checked(each, f'{where}.{i}', types) for i, each in enumerate(value))
    if isinstance(value, str) and not WORD.fullmatch(value):
        raise _RefusedError(f'{where} = {_short(value)} may be a path, a URL or code')
    return value


def _checked_type(value: Any, where: str, types: Container[str]) -> str:
    if not isinstance(value, str):
        raise _RefusedError(f'the type of {where} is {_short(value)}, not a name')
    if value not in types:
        raise _RefusedError(f'the type of {where}, {_short(value)}, is not registered')
    return value


def _short(value: Any) -> str:
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    return printable(text if len(text) <= SHOWN else f'{text[:SHOWN]}…')


class _Types:
    """The names that are registered for a toolbox, found without looking any of them up.

    ``Registry.get`` imports dotted names, so it is only called for names that are known here.

    Args:
        scope: mmdet, mmseg or mmpretrain.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope

    @property
    def of_models(self) -> Container[str]:
        """Names of model parts, and of operators that mmcv looks up by name."""
        from mmcv import ops

        registries = ('MODELS', 'TASK_UTILS', 'BATCH_AUGMENTS')
        return _Names(self._scope, registries, frozenset(ops.__all__))

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
