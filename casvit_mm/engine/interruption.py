"""Lets a run that is told to end finish its step and save a checkpoint first."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from mmengine.dist import barrier

from casvit_mm.engine.agreement import highest

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FORWARDED = 10.0
"""Seconds in which torchrun passes on a signal that its processes may have had themselves."""


class Interruption:
    """Notes that a run was told to end: by Ctrl-C, or by a scheduler that sends SIGTERM.

    As a context, it replaces what the signals did before. A second signal ends the process at once,
    as does the first one where nothing can be saved.

    Attributes:
        waits: Whether the run is at a place from which it comes to a checkpoint by itself.
    """

    def __init__(self) -> None:
        self.waits = False
        self._number: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> 'Interruption':
        # Python handles signals in the main thread only; elsewhere, somebody else has to.
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
            _ACTIVE.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            _ACTIVE.remove(self)
        self._before.clear()

    def leave_to_child(self) -> None:
        """Lets SIGTERM end a process that was just forked, unless it has to wait for a checkpoint.

        The pools of evaluators end their processes with it. Python's own handler would not run in
        one that has just begun to wait for a lock, and the pool would wait for it for ever.
        """
        if not self.waits:
            signal.signal(signal.SIGTERM, self._before[signal.SIGTERM])

    @property
    def is_noted(self) -> bool:
        """Whether this process was told to end."""
        return self._number is not None

    def is_noted_anywhere(self) -> bool:
        """Whether any process of the run was told to end; all of them have to ask."""
        self._number = int(highest(self._number or 0)) or None
        return self.is_noted

    def end(self) -> None:
        """Ends the process as the signal wants, together with the others of the run.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM; the exit code is 143.
        """
        # The first to end would have the others killed.
        barrier()
        _end(self._number or signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self._number is not None
        if again and 'TORCHELASTIC_RUN_ID' in os.environ and number == signal.SIGTERM:
            again = time.monotonic() - self._since > FORWARDED
            if not again:
                return
        if again or not self.waits:
            _end(number)
        self._number, self._since = number, time.monotonic()


_ACTIVE: list[Interruption] = []


def _leave_to_child() -> None:
    for each in _ACTIVE:
        each.leave_to_child()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave_to_child)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
