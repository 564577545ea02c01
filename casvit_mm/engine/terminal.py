"""Divides what a run says between the terminal and the log file.

mmengine logs hundreds of lines before the first step. On a :class:`casvit.terminal.screen.Screen`
they go to the log file, where mmengine writes them anyway; warnings, errors, and what this package
and the user's own code log also appear on the terminal. Runs that OpenMMLab's own tools start have
no screen, and log as mmengine does.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar

from casvit.terminal.noise import is_library, is_noise
from casvit.terminal.screen import Screen

_handler: ContextVar['ScreenHandler | None'] = ContextVar('screen of the run', default=None)


class ScreenHandler(logging.Handler):
    """Shows what is logged on a screen, instead of mmengine's handler for the terminal.

    Args:
        screen: The screen.
        tables: Whether to show the tables of results by class that evaluators log.
    """

    def __init__(self, screen: Screen, *, tables: bool = False) -> None:
        super().__init__()
        # mmengine's backend for MLflow asks every handler for a stream, and reopens closed ones.
        self.stream = sys.stderr
        self.screen = screen
        self.tables = tables
        self._logger: logging.Logger | None = None
        self._waiting: list[str] = []
        self._replaced: list[logging.Handler] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a record, or leaves it to the log file."""
        text = record.getMessage()
        if is_noise(text):
            return
        if record.levelno >= logging.WARNING:
            self.screen.warn(text)
        elif record.levelno == logging.INFO and _is_table(text):
            if self.tables:
                self.screen.say(text.strip())
        elif record.levelno == logging.INFO and not is_library(_caller()):
            self.screen.say(text)

    def serve(self, logger: logging.Logger) -> None:
        """Takes the place of the logger's handler for the terminal."""
        handlers = [each for each in logger.handlers if type(each) is logging.StreamHandler]
        if self not in logger.handlers:
            # The level of the config, such as ERROR for a run that should log less.
            self.setLevel(max((each.level for each in handlers), default=logging.INFO))
            logger.handlers.append(self)
        for each in handlers:
            logger.handlers.remove(each)
        self._replaced += handlers
        self._logger = logger
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            self.keep(line)

    def leave(self) -> None:
        """Gives the place back: the logger outlives the run if a program goes on."""
        if self._logger is not None and self in self._logger.handlers:
            self._logger.handlers.remove(self)
            self._logger.handlers += self._replaced
        self._replaced = []

    def keep(self, line: str) -> None:
        """Writes a line that a library printed to the log file of the run."""
        if self._logger is None:
            self._waiting.append(line)
            return
        write_to_log(self._logger, f'Printed: {line}')


@contextlib.contextmanager
def on_screen(screen: Screen, *, tables: bool = False) -> Iterator[None]:
    """Context of a run that is shown on a screen.

    Args:
        screen: The screen.
        tables: As for :class:`ScreenHandler`.
    """
    handler = ScreenHandler(screen, tables=tables)
    token = _handler.set(handler)
    try:
        with screen.taken(handler.keep):
            yield
    finally:
        _handler.reset(token)
        handler.leave()


def current_screen() -> Screen | None:
    """The screen that this run is shown on; None if it is not."""
    handler = _handler.get()
    return handler.screen if handler else None


def show_on_screen(logger: logging.Logger) -> None:
    """Shows a logger on the screen of this run, if there is one.

    Other processes of a distributed run keep mmengine's handler, which shows their errors.
    """
    handler = _handler.get()
    if handler and handler.screen.is_shown:
        handler.serve(logger)


def write_to_log(logger: logging.Logger, text: str) -> None:
    """Writes a line to the log files of a logger only."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(logger.makeRecord('casvit', logging.INFO, '', 0, text, (), None))


def _is_table(text: str) -> bool:
    return text.startswith('\n+') or text.startswith('\n┏')


def _caller() -> str:
    """The module that logs, below those of the loggers."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get('__name__', '')
        if name != __name__ and not name.startswith(('logging', 'mmengine.logging')):
            return name
        frame = frame.f_back
    return ''
