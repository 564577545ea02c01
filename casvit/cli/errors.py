"""Presents errors to users: as a sentence, and with a traceback only if it helps.

Errors that users can fix (see :func:`casvit.cli.explain.explain`) become one sentence and exit code
2. Their traceback goes into the log file of the run, or to the terminal with ``--debug``. Anything
else is a bug and is shown with its traceback.
"""

import logging
import os
import select
import sys
import traceback
from typing import TextIO

from casvit.cli.explain import explain, unwrapped
from casvit.errors import UserError
from casvit.names import printable_lines

INTERRUPTED = 130
# What a shell reports for a program whose output nobody reads.
CLOSED = 141


def present(error: BaseException, prog: str, *, debug: bool) -> int:
    """Prints an error for the user.

    Args:
        error: The exception.
        prog: Name of the command, with which the message starts.
        debug: Whether to print the traceback of user errors too.

    Returns:
        The exit code of the process.
    """
    interrupted = isinstance(error, KeyboardInterrupt)
    sentence = None if interrupted else explain(error)
    # What went wrong while it ended, such as a full disk, is worth its sentence.
    if interrupted or (sentence is None and _was_interrupted(error)):
        if debug:
            traceback.print_exception(error)
        print(f'\n{prog}: interrupted', file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
        # `casvit … | head`: nobody reads on. Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    where = _log_traceback(error)
    if sentence is None:
        traceback.print_exception(error)
        saved = f' Its traceback is also in {where}.' if where else ''
        print(
            f'{prog}: this is a bug in the program, or in code that it loaded.{saved}',
            file=sys.stderr,
        )
        return 1
    if debug:
        traceback.print_exception(error)
    hint = ''
    if where:
        hint = f'\nThe traceback is in {where}'
    elif not debug and not isinstance(unwrapped(error), UserError):
        hint = '\n(--debug shows the traceback.)'
    rank = os.environ.get('RANK', '0')
    who = prog if rank == '0' else f'{prog} (process {rank})'
    print(printable_lines(f'{who}: error: {sentence}{hint}'), file=sys.stderr)
    return 2


def _was_interrupted(error: BaseException) -> bool:
    """Whether it is Ctrl-C, or was raised by code that took Ctrl-C for an error of its own."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, KeyboardInterrupt):
            return True
        found = found.__cause__ or found.__context__
    return False


def _is_closed(stream: TextIO) -> bool:
    """Whether a stream is a pipe that nobody reads from."""
    if not hasattr(select, 'poll'):
        return False
    poll = select.poll()
    try:
        poll.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _log_traceback(error: BaseException) -> str | None:
    """Writes the traceback to the log file of the run, if there is one; returns its path."""
    # Without mmengine there is no run, and no log.
    mmengine = sys.modules.get('mmengine.logging')
    for handler in mmengine.MMLogger.get_current_instance().handlers if mmengine else ():
        if isinstance(handler, logging.FileHandler):
            record = logging.LogRecord(
                'casvit',
                logging.ERROR,
                '',
                0,
                'stopped',
                None,
                (type(error), error, error.__traceback__),
            )
            handler.emit(record)
            return handler.baseFilename
    return None
