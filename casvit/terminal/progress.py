"""Progress of work outside of runs: a bar on a terminal, a line of text now and then elsewhere."""

import os
import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from casvit.terminal.intervals import Intervals


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which a bar can be drawn."""
    if not stream.isatty() or os.environ.get('TERM') == 'dumb':
        return False
    try:
        # Some containers have a terminal without a size.
        return os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return False


class Progress(tqdm):
    """A bar of tqdm that writes plain lines if it is not drawn on a terminal.

    A file or a pipe gets a line only if the work takes more than half a minute.

    Args:
        *args: As for tqdm, like ``options``.
    """

    # The thread that watches slow bars is of no use for lines.
    monitor_interval = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        stream = options.get('file') or sys.stderr
        self._lines = None if is_terminal(stream) else Intervals(time.monotonic(), at_once=False)
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draws the bar, or writes the line that is due."""
        if self._lines is None:
            return bool(super().display(msg, pos))
        if self.n and self._lines.is_due(time.monotonic()):
            shown = tqdm.format_sizeof if self.unit_scale else str
            about = f'{self.desc.removesuffix(": ")}: ' if self.desc else ''
            total = f'/{shown(self.total)}' if self.total else ''
            self.fp.write(f'{about}{shown(self.n)}{total} {self.unit}\n')
            self.fp.flush()
        return True

    def close(self) -> None:
        """Ends the bar; lines need no end."""
        if self._lines is None:
            super().close()
        else:
            self.disable = True
