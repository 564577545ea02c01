"""What a person sees when something goes wrong: a sentence; a traceback only where it helps.

Mistakes that a person can mend (:class:`casvit.errors.UserError`, values that a registry refuses
while it builds a config, unreadable files) become one sentence and exit code 2. Their traceback
goes into the run's log file, or to the terminal with ``--debug``. Anything else is a bug and keeps
it.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import FrameType

from casvit.errors import UserError
from casvit.names import printable_lines

BUILDING_ERRORS = (ValueError, KeyError, TypeError, AssertionError, AttributeError, IndexError)
INTERRUPTED = 130


def present(error: BaseException, prog: str, *, debug: bool) -> int:
    """Tells a person what went wrong.

    Args:
        error: What was raised.
        prog: Name of the command, which starts the message.
        debug: Whether to print the traceback of a mistake too.

    Returns:
        The exit code of the process.
    """
    if isinstance(error, KeyboardInterrupt):
        print(f'\n{prog}: interrupted', file=sys.stderr)
        return INTERRUPTED
    where = _log_traceback(error)
    sentence = explain(error)
    if sentence is None:
        traceback.print_exception(error)
        saved = f' Its traceback is also in {where}.' if where else ''
        print(
            f'{prog}: this is a bug in the program, or in code it was given.{saved}',
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


def explain(error: BaseException) -> str | None:
    """The sentence for a mistake that a person can mend; None where the error is a bug.

    Args:
        error: What was raised.

    Returns:
        What is wrong, where, and what to do.
    """
    original = _original(error)
    message = _message(original)
    if isinstance(original, UserError):
        return _without_worker(original, message)
    if 'out of memory' in message and isinstance(original, RuntimeError):
        return (
            f'{message.splitlines()[0]} Smaller batches need less: --cfg-options '
            'train_dataloader.batch_size=N (and --auto-scale-lr).'
        )
    if 'BackendCompilerFailed' in (kind.__name__ for kind in type(original).__mro__):
        return (
            f'torch.compile failed: {_compiler_message(message)} It needs a C++ compiler that '
            'works, such as g++. Without one, leave out --compile, and speed.compile in a config.'
        )
    if found := re.search(r'failed to load image: (.+)', message):
        return f'The image {found[1].strip()} cannot be read: it is damaged, or no image.'
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
    """What a compiler of torch said, without the name of the backend that older versions add."""
    lines = [line for line in message.splitlines() if line and not line.startswith('backend=')]
    return lines[0] if lines[0].endswith('.') else f'{lines[0]}.'


def _without_worker(original: BaseException, message: str) -> str:
    """The sentence alone of an error that a loader process sent as text, with its traceback."""
    kind = type(original)
    start = f'{kind.__module__}.{kind.__qualname__}: '
    if 'DataLoader worker process' in message and start in message:
        return message[message.rindex(start) + len(start) :].rstrip()
    return message


def _explain_worker(original: BaseException, message: str) -> str | None:
    """Errors of loader processes arrive as text; those about files are the person's to mend."""
    if isinstance(original, OSError):
        return f'The data loader cannot read a file: {message.strip().splitlines()[-1]}.'
    return None


def _image_being_loaded(error: BaseException) -> str | None:
    """The file that mmcv was loading, whose name OpenCV's own errors lack."""
    names = [frame.f_locals.get('filename') for frame in _frames(error)]
    return next((name for name in reversed(names) if isinstance(name, str)), None)


def _explain_building(error: BaseException, original: BaseException, message: str) -> str | None:
    """What a config asked a registry for, where that is where the error comes from."""
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
            f'The config asks for type={name!r}, which nothing registers. Check its spelling; '
            'where it is your own class, name its module in custom_imports '
            "(together with 'casvit_mm')."
        )
    return f'The config asks for type={name!r} with values that cannot be built: {message}'


def _original(error: BaseException) -> BaseException:
    """The error that registries of the original OpenMMLab line wrap in one of the same type."""
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
    """Writes the traceback into the file of the running log, if there is one; says where."""
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
