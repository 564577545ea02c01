"""Decodes images as a training run does, and keeps what decoders print off the terminal.

``LoadImageFromFile`` of mmcv decodes with OpenCV, in colour. Which formats OpenCV reads depends on
how it was built: a file is readable if OpenCV reads it, whatever other libraries say.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TextIO

import cv2
import numpy as np

STDERR = 2


def decode(content: bytes, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Decodes an image file; by default as a run does.

    Args:
        content: The content of the file.
        flags: OpenCV's flags.

    Returns:
        Shape: ``(H, W, 3)``, uint8 BGR, upright, with the default flags; None if OpenCV cannot
        decode it.
    """
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        # An empty file, or more pixels than OpenCV accepts.
        return None


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silences what libraries print about damaged images: C code directly, Pillow as warnings."""
    with warnings.catch_warnings(), _STDERR:
        warnings.filterwarnings('ignore', module='PIL')
        yield


class _SilentStderr:
    """A context in which the file descriptor of stderr leads nowhere.

    C libraries write to the descriptor. ``sys.stderr`` writes to a copy of it meanwhile. Nested
    contexts, also of other threads, share one redirection: the last one ends it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._copy = -1
        self._replaced: TextIO | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._redirect()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users and self._copy >= 0:
                self._restore()

    def _redirect(self) -> None:
        try:
            self._copy = os.dup(STDERR)
        except OSError:
            # The process has no stderr.
            self._copy = -1
            return
        with suppress(OSError, ValueError, AttributeError):
            if sys.stderr.fileno() == STDERR:
                sys.stderr.flush()
                self._replaced = sys.stderr
                sys.stderr = open(  # noqa: SIM115
                    self._copy, 'w', 1, sys.stderr.encoding, sys.stderr.errors, closefd=False
                )
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDERR)
        os.close(nowhere)

    def _restore(self) -> None:
        if self._replaced:
            sys.stderr.flush()
            sys.stderr, self._replaced = self._replaced, None
        os.dup2(self._copy, STDERR)
        os.close(self._copy)


_STDERR = _SilentStderr()
