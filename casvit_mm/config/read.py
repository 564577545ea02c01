"""Reads configs and the options of ``--cfg-options``."""

import difflib
import os
import re
import tempfile
import textwrap
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from casvit.configs import find_config
from casvit.errors import CliError


def parse_options(options: Sequence[str] | None) -> dict[str, Any]:
    """Parses the values of ``--cfg-options`` as OpenMMLab's tools do.

    Args:
        options: ``KEY=VALUE`` each; None if there are none.

    Returns:
        Dotted keys and their values.

    Raises:
        CliError: A value cannot be parsed.
    """
    parsed, text = Namespace(options={}), ' '.join(options or ())
    try:
        DictAction(['--cfg-options'], 'options', nargs='+')(ArgumentParser(), parsed, options)
    except (AssertionError, ValueError) as error:
        raise CliError(f'--cfg-options {text}: {error}') from error
    except RecursionError as error:
        # mmengine's list parser never ends if an item has brackets inside a word.
        raise CliError(
            f'--cfg-options {text}: a list may hold numbers, words and lists; put '
            'lists with dicts into a config of your own.'
        ) from error
    return parsed.options


def load_config(name: str, options: Mapping[str, Any] | None = None) -> Config:
    """Reads a config and merges the options of ``--cfg-options`` into it.

    Args:
        name: As for :func:`casvit.configs.find_config`.
        options: Dotted keys and their values.

    Returns:
        The config; its ``filename`` is the file that was found.

    Raises:
        CliError: The config does not exist, cannot be read, or an option does not fit it.
    """
    path = find_config(name)
    if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise CliError(f'{path} is not a config: expected a .py, .json or .yaml file.')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        raise CliError(_describe(error, path)) from error
    if options:
        _merge_options(cfg, options, path)
    return cfg


def _merge_options(cfg: Config, options: Mapping[str, Any], path: Path) -> None:
    for key, value in options.items():
        top = key.split('.')[0]
        if top not in cfg:
            near = difflib.get_close_matches(top, list(cfg.keys()), n=1, cutoff=0.75)
            if near:
                raise CliError(
                    f'--cfg-options {key}={value}: the config {path} has no {top!r}. '
                    f'Did you mean {near[0]!r}?'
                )
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            # Shortened, because mmengine's message may quote a whole list of the config.
            reason = textwrap.shorten(str(error.args[0] if error.args else error), 160)
            raise CliError(
                f'--cfg-options {key}={value} does not fit the config {path}: {reason}'
            ) from error


def _describe(error: Exception, path: Path) -> str:
    """Describes which file of a config has an error, in which line, and why."""
    at, line, imported = path, None, ''
    for frame, number in traceback.walk_tb(error.__traceback__):
        here = frame.f_locals.get('filename')
        if frame.f_globals.get('__name__') == 'mmengine.config.config' and here is not None:
            at = at if _is_copy(Path(str(here))) else Path(os.path.normpath(str(here)))
        elif os.path.normpath(frame.f_code.co_filename) == str(at):
            line = number
        elif frame.f_code.co_name == '<module>' and not frame.f_code.co_filename.startswith('<'):
            imported = f'{frame.f_code.co_filename}, line {number}'
    missing = isinstance(error, FileNotFoundError)
    if missing and not at.exists() and at.resolve() != path.resolve():
        user = _named_in(error, at, path)
        return f'The config {user} has a _base_ that does not exist: {at}.'
    if isinstance(error, SyntaxError):
        line = error.lineno or line
        reason = f'is not valid Python: {error.msg}'
    elif isinstance(error, ImportError):
        reason = str(error).split(', the current sys.path')[0]
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        more = '' if cause is error else f' ({cause})'
        return f'The config {path} cannot be loaded: {reason}{more}. Is its folder on PYTHONPATH?'
    elif imported:
        return (
            f'The config {path} cannot be loaded: a module that it imports fails in {imported}: '
            f'{type(error).__name__}: {error}'
        )
    elif variable := re.search(r'`(\w+)` cannot be found in `os.environ`', str(error)):
        reason = (
            f'uses the environment variable {variable[1]}, which is not set: set it, or give a '
            'default as in {{$NAME:DEFAULT}}.'
        )
    elif 'import_modules_from_strings' in str(error):
        reason = "has other custom_imports than custom_imports=dict(imports=['casvit_mm', ...])."
    elif isinstance(error, KeyError):
        reason = f'uses a name that does not exist: {error}'
    else:
        reason = f'cannot be loaded: {error}'
    child = f' (a base of {path})' if at.resolve() != path.resolve() else ''
    place = f', line {line},' if line else ''
    return f'The config {at}{child}{place} {reason}'


def _is_copy(file: Path) -> bool:
    """Whether a file is the copy of a config in which mmengine has replaced variables."""
    return file.parent.parent == Path(tempfile.gettempdir()) and not file.parent.exists()


def _named_in(error: Exception, missing: Path, path: Path) -> Path:
    """The config of an inheritance chain that names a missing base."""
    chain = [path]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        here = frame.f_locals.get('filename')
        if frame.f_globals.get('__name__') == 'mmengine.config.config' and here is not None:
            chain.append(Path(os.path.normpath(str(here))))
    return [link for link in chain if link != missing][-1]
