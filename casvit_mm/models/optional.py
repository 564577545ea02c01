"""OpenMMLab toolboxes that only some tasks need."""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import StringIO
from typing import NamedTuple

from casvit.errors import MissingPackageError
from casvit.extras import SET_UP
from casvit.sentences import first_line


class Toolbox(NamedTuple):
    """A toolbox that a task needs.

    Attributes:
        task: The task.
        modules: Modules that must be importable.
        install: Packages to install.
    """

    task: str
    modules: tuple[str, ...]
    install: str


TOOLBOXES = {
    'mmdet': Toolbox(
        'Detection',
        ('mmdet',),
        'onedl-mmdetection (mmdet on the original line of OpenMMLab)',
    ),
    'mmseg': Toolbox(
        'Semantic segmentation',
        ('mmseg',),
        'onedl-mmsegmentation (mmsegmentation on the original line of OpenMMLab)',
    ),
    'mmpretrain': Toolbox(
        'Classification',
        ('torchvision', 'mmpretrain.models'),
        'onedl-mmpretrain (mmpretrain on the original line of OpenMMLab), and the torchvision '
        'that belongs to the installed torch',
    ),
}
# A torchvision built for another torch raises a RuntimeError, a toolbox that needs another mmcv an
# AssertionError, mmpretrain beside a new transformers a TypeError.
_IMPORT_ERRORS = Exception


@cache
def import_error(module: str) -> str:
    """Why a module cannot be imported; empty if it can.

    The import is tried once: a second attempt at a half-imported module fails for other reasons.
    """
    try:
        importlib.import_module(module)
    except _IMPORT_ERRORS as error:
        return first_line(error)
    return ''


def toolbox_error(name: str) -> str:
    """Why a toolbox cannot be imported, and what to install; empty if it can.

    Args:
        name: A key of :data:`TOOLBOXES`.
    """
    reason = next(filter(None, map(import_error, TOOLBOXES[name].modules)), '')
    return reason and _sentence(name, reason)


@contextmanager
def toolbox(name: str) -> Iterator[None]:
    """Context for imports from a toolbox; if one fails, the error says what to install.

    Args:
        name: A key of :data:`TOOLBOXES`.

    Raises:
        MissingPackageError: An import fails.
    """
    try:
        yield
    except _IMPORT_ERRORS as error:
        raise MissingPackageError(
            toolbox_error(name) or _sentence(name, first_line(error))
        ) from error


def import_toolbox(name: str) -> None:
    """Imports all models and datasets of a toolbox; whatever they print goes to the debug log.

    Args:
        name: A key of :data:`TOOLBOXES`.

    Raises:
        MissingPackageError: It cannot be imported; the message says what to install.
    """
    printed = StringIO()
    try:
        with toolbox(name), redirect_stdout(printed):
            for part in ('models', 'datasets'):
                importlib.import_module(f'{name}.{part}')
    finally:
        for line in filter(str.strip, printed.getvalue().splitlines()):
            logging.getLogger('casvit').debug('While %s was imported: %s', name, line)


def forget_broken_packages() -> None:
    """Makes detection and segmentation work in this process although torchvision is broken.

    A torchvision built for another torch raises a RuntimeError on import. mmdet and mmseg import
    it and mmpretrain if they are installed, but handle only an ImportError: after this call,
    importing them raises one. This affects the whole process, so use it only in commands of this
    package, not in a library call.
    """
    for module in TOOLBOXES['mmpretrain'].modules:
        if import_error(module):
            # None makes the next import fail; typeshed has no type for that.
            sys.modules[module.split('.')[0]] = None  # type: ignore[assignment]
            return


def require_mmpretrain() -> None:
    """Stops if mmpretrain is not installed, for configs that cannot be used without it.

    It is only looked up, not imported, so that reading a config stays fast.

    Raises:
        MissingPackageError: It is not installed; the message says what to install.
    """
    try:
        missing = find_spec('mmpretrain') is None
    except ImportError:
        missing = True
    if missing:
        raise MissingPackageError(toolbox_error('mmpretrain'))


def _sentence(name: str, reason: str) -> str:
    task, _, install = TOOLBOXES[name]
    if name == 'mmpretrain' and (found := _new_transformers()):
        install = f"a transformers below 5 beside it (pip install 'transformers<5'; found {found})"
    return (
        f'{task} needs {name}, which cannot be imported here ({reason}): install {install}; '
        f'{SET_UP}.'
    )


def _new_transformers() -> str:
    """The version of transformers, if mmpretrain's multimodal models cannot use it."""
    try:
        found = version('transformers')
    except PackageNotFoundError:
        return ''
    return found if int(found.partition('.')[0]) >= 5 else ''
