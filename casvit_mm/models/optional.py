"""The toolboxes of OpenMMLab that one task needs and the others do not."""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib.util import find_spec
from io import StringIO
from typing import NamedTuple

from casvit.errors import MissingPackageError
from casvit.extras import SET_UP


class Toolbox(NamedTuple):
    """What a task needs.

    Attributes:
        task: The task.
        modules: What must be importable.
        install: What to install.
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
# A torchvision that was built for another torch raises a RuntimeError, a toolbox of another mmcv
# an AssertionError.
_IMPORT_ERRORS = (ImportError, RuntimeError, AssertionError)


@cache
def import_error(module: str) -> str:
    """Why a module cannot be imported; empty if it can.

    It is tried once: the second attempt at a module that is half imported says something else.
    """
    try:
        importlib.import_module(module)
    except _IMPORT_ERRORS as error:
        return _first_line(error)
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
    """Imports inside are of a toolbox; if that fails, the error says what to install.

    Args:
        name: A key of :data:`TOOLBOXES`.

    Raises:
        MissingPackageError: An import fails.
    """
    try:
        yield
    except _IMPORT_ERRORS as error:
        raise MissingPackageError(
            toolbox_error(name) or _sentence(name, _first_line(error))
        ) from error


def import_toolbox(name: str) -> None:
    """Imports all models and data of a toolbox, and keeps to itself what they print meanwhile.

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
    """Lets a process of this package detect and segment although torchvision is broken.

    A torchvision that was built for another torch raises a RuntimeError. mmdet and mmseg, which
    import it and mmpretrain if they are there, expect no more than an ImportError: after this,
    importing them raises one. It changes the process, and is not for those of other people.
    """
    for module in TOOLBOXES['mmpretrain'].modules:
        if import_error(module):
            sys.modules[module.split('.')[0]] = None
            return


def require_mmpretrain() -> None:
    """Stops if mmpretrain is not installed, for configs that are of no use without it.

    It is not imported: reading a config takes no seconds.

    Raises:
        MissingPackageError: It is not; the message says what to install.
    """
    try:
        missing = find_spec('mmpretrain') is None
    except ImportError:
        missing = True
    if missing:
        raise MissingPackageError(toolbox_error('mmpretrain'))


def _sentence(name: str, reason: str) -> str:
    task, _, install = TOOLBOXES[name]
    return (
        f'{task} needs {name}, which cannot be imported here ({reason}): install {install}; '
        f'{SET_UP}.'
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
