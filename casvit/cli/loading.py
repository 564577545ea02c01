"""The imports of a command: quiet, said if they take long, a sentence if something is missing."""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache

from casvit.errors import MissingPackageError
from casvit.extras import how_to_install

SLOW = 1.0
"""Seconds after which a person is told what the command is doing."""

printed: list[str] = []
"""Lines that libraries printed while they were imported; a run writes them into its log."""


@contextlib.contextmanager
def loading(who: str) -> Iterator[None]:
    """Lets a command import what it runs.

    What libraries print meanwhile is kept in :data:`printed` instead of shown.

    Args:
        who: What needs the imports, for the sentence about a missing one.

    Raises:
        MissingPackageError: A package is not installed; says how to install it.
    """
    saying = threading.Timer(SLOW, _say_loading)
    saying.daemon = True
    saying.start()
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(_sentence(who, error)) from error
    finally:
        saying.cancel()
        printed.extend(line for line in output.getvalue().splitlines() if line.strip())


@cache
def _say_loading() -> None:
    """Says it once: a command loads what it runs, and later what its config needs."""
    if os.environ.get('RANK', '0') == '0':
        print('Loading PyTorch and OpenMMLab …', file=sys.stderr, flush=True)


def _sentence(who: str, error: ModuleNotFoundError) -> str:
    name = error.name or str(error)
    package = name.split('.')[0]
    what = 'is not installed' if name == package else f'is not in the installed {package}'
    return f'{who} needs {name}, which {what}: {how_to_install(package)}.'
