"""Finds the part of a config that an error comes from, in the frames of its traceback.

OpenMMLab's classes are known by their names, so that this needs none of its packages.
"""

import ast
import inspect
import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from casvit.extras import OPENMMLAB

OURS = ('casvit', 'casvit_mm')
KINDS = {
    'BaseTransform': 'transform',
    'BaseDataset': 'dataset',
    'BaseMetric': 'metric',
    'BaseVisBackend': 'visualization backend',
    'Visualizer': 'visualizer',
    'Hook': 'hook',
    'DefaultOptimWrapperConstructor': 'optimizer constructor',
    'OptimWrapper': 'optimizer wrapper',
    '_ParamScheduler': 'scheduler',
    'BaseDataPreprocessor': 'data preprocessor',
    'BaseModel': 'model',
    'BaseModule': 'model part',
}
"""Base classes of the parts of a config, and what a part of each kind is called."""

BUILDERS = {'build_from_cfg': 'type', 'build_runner_from_cfg': 'runner_type'}
"""Functions of mmengine that build a part, and the key that names its class."""

# A frame of a traceback as text: a loader process sends it so.
FRAME = re.compile(r'^ *File "(.+)", line (\d+), in (\w+)$', re.MULTILINE)


class Part(NamedTuple):
    """A part of a config.

    Attributes:
        name: The name of its class.
        kind: What such a part is called: 'transform', 'metric' …
    """

    name: str
    kind: str


class Building(NamedTuple):
    """A part that was being built.

    Attributes:
        key: The key that names its class: ``type`` or ``runner_type``.
        values: Its values in the config.
        registry: The registry that built it.
        cls: Its class; None if there is none of this name.
    """

    key: str
    values: Mapping[str, Any]
    registry: Any
    cls: Any

    @property
    def name(self) -> str:
        """The name of its class, as the config gives it; empty if it gives none."""
        kind = self.values.get(self.key, '')
        return kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))


def frames(error: BaseException) -> Iterator[FrameType]:
    """Frames from the outermost to where the error was first raised."""
    chain = [error]
    while chain[-1].__context__ is not None and chain[-1].__context__ not in chain:
        chain.append(chain[-1].__context__)
    for link in chain:
        for frame, _ in traceback.walk_tb(link.__traceback__):
            yield frame


def being_built(error: BaseException) -> Building | None:
    """The innermost part that was being built; None if none was, or if it was already running."""
    building, runner, last = None, None, None
    for last in frames(error):
        name = last.f_code.co_name
        if name in ('run_iter', 'train_step', 'test_step', 'val_step'):
            return None
        if name in BUILDERS and hasattr(last.f_locals.get('cfg'), 'get'):
            registry, cls = last.f_locals.get('registry'), last.f_locals.get('obj_cls')
            values = dict(last.f_locals['cfg'].items())
            if kind := last.f_locals.get('obj_type'):
                # The type may be a default of the registry.
                values.setdefault(BUILDERS[name], kind)
            found = Building(BUILDERS[name], values, registry, cls)
            if found.key == 'type':
                building = found
            else:
                runner = found
    # While it is built, a runner builds most other parts and writes to its log.
    return building or (runner if _is_mmengines(last) else None)


def _is_mmengines(frame: FrameType | None) -> bool:
    """Whether code is that of mmengine's runner or registry."""
    name = frame.f_globals.get('__name__', '') if frame else ''
    return name.startswith(('mmengine.runner.', 'mmengine.registry.'))


def running(error: BaseException) -> Part | None:
    """The innermost part of OpenMMLab, or of this package's models, whose code was running.

    Returns:
        The part; None if there is none, or if the error was raised by code of the user.
    """
    found, last = None, None
    for frame in frames(error):
        # vis_backends run through a decorator, which calls them obj.
        owner = frame.f_locals.get('self', frame.f_locals.get('obj'))
        kind = _kind(type(owner))
        if kind:
            found = Part(type(owner).__name__, kind)
            if type(owner).__module__.split('.')[0] not in (*OPENMMLAB, *OURS):
                found = None
        last = frame
    if last is None or found is None:
        return None
    module = last.f_globals.get('__name__', '').split('.')[0]
    own = module in OURS or not _is_library(last.f_code.co_filename, module)
    return None if own else found


def running_in_text(text: str) -> Part | None:
    """As :func:`running`, for the text of a traceback.

    Args:
        text: What a loader process sent.

    Returns:
        The transform or dataset; None if the error was raised by other code.
    """
    for position, (file, line, _) in enumerate(reversed(FRAME.findall(text))):
        package = next((name for name in OPENMMLAB if f'/{name}/' in Path(file).as_posix()), '')
        if position == 0 and not package and not _is_library(file, ''):
            return None
        kind = 'transform' if '/transforms/' in file else 'dataset' if '/datasets/' in file else ''
        name = _class_at(file, int(line))
        if package and kind and name and not name.startswith('Base'):
            return Part(name, kind)
    return None


def place(error: BaseException, name: str, values: Mapping[str, Any] | None = None) -> str:
    """Where the config of a run has a part.

    Args:
        error: An error of the run.
        name: The name of the part's class.
        values: The values of the part, if they are known.

    Returns:
        A dotted path, such as ``train_dataloader.dataset.pipeline.2``; empty if the part is not
        there, or in different places.
    """
    for frame in frames(error):
        cfg = getattr(frame.f_locals.get('cfg'), '_cfg_dict', None)
        if cfg is not None and 'model' in cfg:
            nodes = list(_nodes(cfg, ''))
            same = [path for path, node in nodes if values is not None and node == values]
            called = [path for path, node in nodes if name and _called(node) == name]
            paths = same or called
            return paths[0] if same or len(paths) == 1 else ''
    return ''


def arguments_of(cls: Any) -> list[str]:
    """The arguments that a class takes, also for its base classes."""
    names: list[str] = []
    for each in getattr(cls, '__mro__', (cls,)):
        try:
            names += inspect.signature(each).parameters
        except (TypeError, ValueError):
            continue
    return [name for name in dict.fromkeys(names) if name not in ('self', 'args', 'kwargs')]


def failed_line(error: BaseException) -> str:
    """The line of code that raised an error; empty if it is not known."""
    *_, (frame, line) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    return linecache.getline(frame.f_code.co_filename, line).strip() if frame else ''


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield path, node
        for key, value in node.items():
            yield from _nodes(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _nodes(value, f'{path}.{index}')


def _called(node: Mapping[str, Any]) -> str:
    kind = node.get('type')
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _kind(cls: type) -> str:
    return next((KINDS[base.__name__] for base in cls.__mro__ if base.__name__ in KINDS), '')


@cache
def _standard_library() -> str:
    return sysconfig.get_paths()['stdlib']


def _is_library(file: str, module: str) -> bool:
    """Whether code is installed, and not the user's own."""
    installed = 'site-packages' in file or 'dist-packages' in file
    # A clone of a toolbox is installed in place.
    return installed or module in OPENMMLAB or file.startswith(('<', _standard_library()))


def _class_at(file: str, line: int) -> str:
    """The name of the class whose definition covers a line of a file; empty if none does."""
    try:
        tree = ast.parse(Path(file).read_text(encoding='utf-8'))
    except (OSError, SyntaxError, ValueError):
        return ''
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
            return node.name
    return ''
