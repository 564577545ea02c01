"""Presents errors to users: as a sentence, and with a traceback only if it helps.

Errors that users can fix (:class:`casvit.errors.UserError`, values that a registry refuses while
it builds a config, unreadable files) become one sentence and exit code 2. Their traceback goes
into the log file of the run, or to the terminal with ``--debug``. Anything else is a bug and is
shown with its traceback.
"""

import logging
import os
import re
import select
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

from casvit.errors import UserError
from casvit.names import printable_lines

BUILDING_ERRORS = (ValueError, KeyError, TypeError, AssertionError, AttributeError, IndexError)
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
    if isinstance(error, KeyboardInterrupt):
        print(f'\n{prog}: interrupted', file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
        # `casvit … | head`: nobody reads on. Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    where = _log_traceback(error)
    sentence = explain(error)
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
    elif not debug and not isinstance(_original(error), UserError):
        hint = '\n(--debug shows the traceback.)'
    rank = os.environ.get('RANK', '0')
    who = prog if rank == '0' else f'{prog} (process {rank})'
    print(printable_lines(f'{who}: error: {sentence}{hint}'), file=sys.stderr)
    return 2


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


def explain(error: BaseException) -> str | None:
    """The sentence for an error that the user can fix; None if the error is a bug.

    Args:
        error: The exception.

    Returns:
        What is wrong, where, and what to do.
    """
    original = _original(error)
    message = _message(original)
    if isinstance(original, UserError):
        return _without_worker(original, message)
    if 'out of memory' in message and isinstance(original, RuntimeError):
        return (
            f'{message.splitlines()[0]} Use a smaller batch: --cfg-options '
            'train_dataloader.batch_size=N (and --auto-scale-lr).'
        )
    if 'BackendCompilerFailed' in (kind.__name__ for kind in type(original).__mro__):
        return (
            f'torch.compile failed: {_compiler_message(message)} It needs a working C++ compiler, '
            'such as g++. Without one, leave out --compile, and speed.compile in a config.'
        )
    if found := re.search(r'failed to load image: (.+)', message):
        return f'The image {found[1].strip()} cannot be read: it is damaged, or not an image.'
    if 'imdecode' in message and (file := _image_being_loaded(error)):
        return f'The image {file} cannot be read: it is empty, or damaged.'
    if 'DataLoader worker process' in message:
        return _explain_worker(original, message)
    if isinstance(original, OSError) and original.filename is not None:
        return f'{original.filename}: {original.strerror or message}.'
    if isinstance(original, (*BUILDING_ERRORS, ImportError, OSError)):
        return _explain_building(error, original, message)
    return None


def _compiler_message(message: str) -> str:
    """The message of torch's compiler, without the backend name that older versions add."""
    lines = [line for line in message.splitlines() if line and not line.startswith('backend=')]
    return lines[0] if lines[0].endswith('.') else f'{lines[0]}.'


def _without_worker(original: BaseException, message: str) -> str:
    """The message of an error that a loader process sent as text together with its traceback."""
    kind = type(original)
    start = f'{kind.__module__}.{kind.__qualname__}: '
    if 'DataLoader worker process' in message and start in message:
        return message[message.rindex(start) + len(start) :].rstrip()
    return message


def _explain_worker(original: BaseException, message: str) -> str | None:
    """Explains an error of a loader process, which arrives as text, if it is about a file."""
    if isinstance(original, OSError):
        return f'The data loader cannot read a file: {message.strip().splitlines()[-1]}.'
    return None


def _image_being_loaded(error: BaseException) -> str | None:
    """The file that mmcv was loading; OpenCV's own errors do not name it."""
    names = [frame.f_locals.get('filename') for frame in _frames(error)]
    return next((name for name in reversed(names) if isinstance(name, str)), None)


def _explain_building(error: BaseException, original: BaseException, message: str) -> str | None:
    """Explains an error that was raised while a registry built a part of a config."""
    building = None
    for frame in _frames(error):
        if frame.f_code.co_name == 'build_from_cfg':
            cfg = frame.f_locals.get('cfg')
            if isinstance(cfg, dict) and 'type' in cfg:
                building = cfg['type']
        elif frame.f_code.co_name in ('run_iter', 'train_step', 'test_step', 'val_step'):
            return None
    if building is None:
        return None
    name = building if isinstance(building, str) else getattr(building, '__name__', building)
    if isinstance(original, KeyError) and 'is not in the' in message:
        return (
            f'The config uses type={name!r}, which is not registered. Check the spelling; if it '
            "is your own class, add its module to custom_imports (together with 'casvit_mm')."
        )
    return f'The config uses type={name!r} with invalid values: {message}'


def _original(error: BaseException) -> BaseException:
    """Unwraps an error that registries of the original OpenMMLab line wrapped in its own type."""
    while (
        error.__context__ is not None
        and type(error.__context__) is type(error)
        and str(error).startswith('class `')
        and str(error).endswith(str(error.__context__))
    ):
        error = error.__context__
    return error


def _message(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Frames from the outermost to where the error was first raised."""
    chain = [error]
    while chain[-1].__context__ is not None and chain[-1].__context__ not in chain:
        chain.append(chain[-1].__context__)
    for link in chain:
        for frame, _ in traceback.walk_tb(link.__traceback__):
            yield frame


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
