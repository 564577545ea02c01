"""Imports for a command: quiet, with a line if they take long and a sentence if one fails."""

import contextlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache

from casvit.errors import MissingPackageError
from casvit.extras import how_to_install
from casvit.terminal.noise import warning_handler

SLOW = 1.0
"""Seconds after which the command prints that it is loading."""

printed: list[str] = []
"""Warnings, and lines that libraries printed during their import; a run writes them to its log."""

quiet = False
"""Whether the command shows only warnings, errors and its result."""


@contextlib.contextmanager
def loading(who: str) -> Iterator[None]:
    """Context in which a command imports the code that it runs.

    Lines that libraries print meanwhile are kept in :data:`printed` instead of shown; of warnings,
    see :func:`only_useful_warnings`.

    Args:
        who: What needs the imports, for the message about a missing package.

    Raises:
        MissingPackageError: A package is not installed; the message says how to install it.
    """
    saying = threading.Timer(SLOW, _say_loading)
    saying.daemon = True
    saying.start()
    output = io.StringIO()
    try:
        with only_useful_warnings(), contextlib.redirect_stdout(output):
            yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(_sentence(who, error)) from error
    finally:
        saying.cancel()
        printed.extend(line for line in output.getvalue().splitlines() if line.strip())


@contextlib.contextmanager
def only_useful_warnings() -> Iterator[None]:
    """Context in which Python's warnings are shown as a line, if users can do something about them.

    All are kept in :data:`printed`.
    """
    # Not catch_warnings, which would undo the filters that libraries set.
    before = warnings.showwarning
    warnings.showwarning = warning_handler(printed.append, _show_warning)
    try:
        yield
    finally:
        warnings.showwarning = before


@cache
def _say_loading() -> None:
    """Prints the line once: a command loads its own code, and later what its config needs."""
    if os.environ.get('RANK', '0') == '0' and not quiet:
        print('Loading PyTorch and OpenMMLab …', file=sys.stderr, flush=True)


def _show_warning(text: str) -> None:
    if os.environ.get('RANK', '0') == '0':
        print(f'Warning: {text}', file=sys.stderr)


def _sentence(who: str, error: ModuleNotFoundError) -> str:
    name = error.name or str(error)
    package = name.split('.')[0]
    what = 'is not installed' if name == package else f'is not in the installed {package}'
    return f'{who} needs {name}, which {what}: {how_to_install(package)}.'
