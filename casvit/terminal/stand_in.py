"""A stand-in for ``sys.stdout`` and ``sys.stderr`` while a progress bar is on the terminal."""

import io
import sys
from collections.abc import Callable
from typing import TextIO

from casvit.terminal.noise import is_library


class StandIn(io.TextIOBase):
    """Shows lines above the bar; keeps what libraries print about their own work off the terminal.

    Args:
        real: The stream that it stands in for.
        show: Shows a text above the bar.
        keep: Gets the lines that libraries print; None to show these as well.
    """

    def __init__(
        self,
        real: TextIO,
        show: Callable[[str, TextIO], None],
        keep: Callable[[str], None] | None = None,
    ) -> None:
        self.real = real
        self.show = show
        self.keep = keep
        self._shown = self._kept = ''

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the real stream."""
        return self.real.encoding

    def writable(self) -> bool:
        """Always True."""
        return True

    def isatty(self) -> bool:
        """Whether the real stream is a terminal."""
        return self.real.isatty()

    def fileno(self) -> int:
        """The descriptor of the real stream."""
        return self.real.fileno()

    def write(self, text: str) -> int:
        """Takes a part of a line, or lines."""
        if self.keep and is_library(sys._getframe(1).f_globals.get('__name__', '')):
            *lines, self._kept = (self._kept + text).split('\n')
            for line in filter(str.strip, lines):
                self.keep(line)
        else:
            # A carriage return moves to the start of the line, as bars of other code do.
            whole, end, self._shown = (self._shown + text).rpartition('\n')
            if end:
                self.show(whole + end, self.real)
        return len(text)

    def flush(self) -> None:
        """Shows a line without an end, such as a prompt."""
        text, self._shown = self._shown, ''
        if text:
            self.show(text, self.real)
