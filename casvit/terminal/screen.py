"""The terminal of a command: lines, warnings and one progress bar, or plain lines in a file."""

import contextlib
import os
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from tqdm import tqdm

from casvit.names import printable_lines
from casvit.terminal.intervals import Intervals
from casvit.terminal.noise import warning_handler
from casvit.terminal.progress import is_terminal
from casvit.terminal.stand_in import StandIn

REDRAW = 0.2
"""Seconds between two states of the bar."""
NAME_WIDTH = 11
"""Columns of the names of facts."""


class Screen:
    """What a command shows.

    On a terminal there is one progress bar, and all lines appear above it. Anywhere else, progress
    is a line now and then. Only the first process of a distributed run shows anything.

    Args:
        quiet: Whether to show only warnings and results.
        stream: Where to write; the output of the process by default.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stdout
        self.live = is_terminal(self.stream) and not quiet
        self._bar: _Bar | None = None
        self._stage = ''
        self._intervals: Intervals | None = None
        self._drawn = 0.0
        self._warned: set[str] = set()
        self._process = os.getpid()

    @property
    def is_shown(self) -> bool:
        """Whether this process is the one that shows the run."""
        return os.environ.get('RANK', '0') == '0'

    def say(self, text: str) -> None:
        """Shows lines, unless the command is quiet."""
        if not self.quiet:
            self.tell(text)

    def tell(self, text: str) -> None:
        """Shows lines, also if the command is quiet."""
        if self.is_shown:
            self._write(f'{printable_lines(text)}\n', self.stream)

    def fact(self, name: str, text: str) -> None:
        """Shows a name and what there is to say about it, in whole words on a terminal."""
        line = f'{name:<{NAME_WIDTH}}{printable_lines(text)}'
        if self.live:
            width, indent = shutil.get_terminal_size().columns - 1, ' ' * NAME_WIDTH
            line = textwrap.fill(
                line,
                width,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        self.say(line)

    def warn(self, text: str) -> None:
        """Shows a warning; the same one only once."""
        text = printable_lines(text.strip())
        if self.is_shown and text not in self._warned:
            self._warned.add(text)
            self._write(f'Warning: {text}\n', sys.__stderr__ or self.stream)

    def progress(
        self, stage: str, name: str, done: int, total: int, facts: Callable[[], Sequence[str]]
    ) -> None:
        """Shows how far a stage of the command is.

        Args:
            stage: The stage. If it differs from that of the last call, a new bar starts; a file
                gets no line for that call.
            name: What the bar is called now, such as 'epoch 2/9'.
            done: Number of finished steps.
            total: Number of all steps.
            facts: Called if the progress is shown now; gives what else to say about it.
        """
        if self.quiet or not self.is_shown:
            return
        now = time.monotonic()
        begins = stage != self._stage
        if begins:
            self.end_progress()
            self._stage, self._drawn = stage, 0.0
            # A validation of seconds needs no line.
            self._intervals = Intervals(now, at_once=stage == 'train')
        if self.live:
            if self._bar is None:
                self._bar = _Bar(name, done, total, self.stream)
            if now - self._drawn >= REDRAW or done == total:
                self._drawn = now
                self._bar.draw(name, done, facts())
        elif self._intervals and not begins and self._intervals.is_due(now):
            self.tell(', '.join((f'{name}, step {done}/{total}', *facts())))

    def end_progress(self, *, leave: bool = False) -> None:
        """Removes the bar.

        Args:
            leave: Whether its last state stays, which shows how far a run came that failed.
        """
        bar, self._bar, self._stage = self._bar, None, ''
        if bar is not None:
            bar.leave = leave
            bar.close()

    @contextlib.contextmanager
    def taken(self, keep: Callable[[str], None]) -> Iterator[None]:
        """Context in which everything that Python prints or warns about is shown above the bar.

        Args:
            keep: Gets the lines that are of no use on the terminal, for the log.
        """
        shown, before = self._write, warnings.showwarning
        out, err = StandIn(sys.stdout, shown, keep), StandIn(sys.stderr, shown)
        warnings.showwarning = warning_handler(keep, self.warn)
        failed = True
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield
            failed = False
        finally:
            warnings.showwarning = before
            self.end_progress(leave=failed)
            out.flush()
            err.flush()

    def _write(self, text: str, stream: TextIO) -> None:
        # A data loading process has a copy of the bar, which is not up to date.
        bar = self._bar if os.getpid() == self._process else None
        if bar is None:
            stream.write(text)
            stream.flush()
            return
        bar.clear()
        stream.write(text)
        stream.flush()
        if text.endswith('\n'):
            bar.refresh()


class _Bar(tqdm):
    """One line with a bar, drawn when it is told to."""

    # The thread that watches slow bars is of no use here, and data loading processes are forked.
    monitor_interval = 0

    def __init__(self, name: str, done: int, total: int, stream: TextIO) -> None:
        super().__init__(
            desc=name,
            total=total,
            initial=done,
            file=stream,
            leave=False,
            dynamic_ncols=True,
            bar_format='{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}',
        )

    def draw(self, name: str, done: int, facts: Sequence[str]) -> None:
        """Shows a new state."""
        self.n = done
        self.set_description_str(name, refresh=False)
        self.set_postfix_str(', '.join(facts), refresh=False)
        self.refresh()
