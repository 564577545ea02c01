"""Tells once of what cannot be written, and lets a run go on."""

import errno
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mmengine.logging import print_log

from casvit.errors import UserError
from casvit.sentences import reason_of

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNITS = ('bytes', 'KiB', 'MiB', 'GiB', 'TiB')


def not_written(what: str, folder: str | Path, error: OSError, needed: int = 0) -> str:
    """Says what cannot be written, where and why, in a sentence without its full stop.

    Args:
        what: What it is, such as 'the log'.
        folder: The folder that it belongs into.
        error: The error.
        needed: Its size in bytes; 0 if unknown.
    """
    space = []
    if error.errno in FULL:
        if needed:
            space.append(f'about {size_of(needed)} needed')
        if (free := free_space(folder)) is not None:
            space.append(f'{size_of(free)} left')
    told = f' ({", ".join(space)})' if space else ''
    return f'{what} cannot be written to {folder}: {reason_of(error)}{told}'


def free_space(folder: str | Path) -> int | None:
    """The bytes that are left on the disk of a folder; None if it is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def size_of(count: float) -> str:
    """A number of bytes in a suitable unit."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            break
        count /= 1024
    return f'{count:.0f} {unit}' if unit == UNITS[0] or count >= 10 else f'{count:.1f} {unit}'


class Outage:
    """Tells of the first of several failures in a row to write something.

    Args:
        what: What is written, such as 'the log'.
        folder: The folder that it is written to.
        tell: Gets the sentence; the log if None.
    """

    def __init__(
        self, what: str, folder: str | Path, tell: Callable[[str], object] | None = None
    ) -> None:
        self.what, self.folder = what, folder
        self._tell = tell or partial(print_log, logger='current', level=logging.WARNING)
        self.lasts = False

    def report(self, error: OSError) -> None:
        """Notes a failure."""
        if not self.lasts:
            self.lasts = True
            start = not_written(self.what, self.folder, error)
            self._tell(f'{start[0].upper()}{start[1:]}. The run goes on without.')

    @contextmanager
    def tolerated(self) -> Iterator[None]:
        """Context of an attempt; an error of a file in it does not leave it.

        Errors that a person can fix count if such an error caused them.
        """
        try:
            yield
        except OSError as error:
            self.report(error)
        except UserError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno is None:
                raise
            self.report(cause)
        else:
            self.lasts = False


def keep_logging(logger: logging.Logger) -> None:
    """Lets a logger go on without its files if these cannot be written.

    Python would print a traceback for every line instead.

    Args:
        logger: The logger.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            outage = Outage('the log', Path(handler.baseFilename).parent, _on_stderr)
            vars(handler)['handleError'] = _tolerant(outage, handler)


def _tolerant(outage: Outage, handler: logging.Handler) -> Callable[[logging.LogRecord], None]:
    def handle(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            outage.report(error)
        else:
            logging.Handler.handleError(handler, record)

    return handle


def _on_stderr(text: str) -> None:
    print(f'Warning: {text}', file=sys.stderr, flush=True)
