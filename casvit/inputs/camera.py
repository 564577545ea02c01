"""Cameras: always the newest frame."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from casvit.inputs.ahead import Worker
from casvit.inputs.streams import FRAMES_PER_SECOND, StreamError, require_opencv


class Camera:
    """The frames of a camera: each time the newest one, as RGB ``(H, W, 3)`` uint8.

    A thread reads the camera during an iteration. Frames that arrive while the model still
    computes are dropped, so that results are never behind the camera. The iteration does not end
    by itself; the camera is released when it is closed.

    Args:
        device: The number of a camera of this machine (0 is the first one), or the URL of a
            network camera (``rtsp://…``, ``http://…``).

    Raises:
        StreamError: The camera cannot be opened or read. Also while iterating, if it stops.
        MissingPackageError: OpenCV is not installed.

    Attributes:
        device: The number or URL.
        frames_per_second: As the camera says; 25 if it does not.
        reads_ahead: True: a Predictor takes a frame only when it is ready for it.

    Example:
        >>> for result in predict(Camera(0)):
        ...     print(result)
    """

    reads_ahead = True

    def __init__(self, device: int | str = 0) -> None:
        self.device = device
        capture = self._opened()
        try:
            rate = capture.get(require_opencv('Reading cameras').CAP_PROP_FPS)
            if not capture.read()[0]:
                raise StreamError(f'The camera {device} was opened, but gives no image.')
        finally:
            capture.release()
        self.frames_per_second = rate if rate > 0 else FRAMES_PER_SECOND

    def __iter__(self) -> Iterator[np.ndarray]:
        capture = self._opened()
        frames: SimpleQueue[np.ndarray | None] = SimpleQueue()
        errors: list[Exception] = []

        def work(worker: Worker) -> None:
            try:
                while not worker.stopped:
                    there, frame = capture.read()
                    if not there:
                        return
                    with suppress(Empty):
                        frames.get_nowait()
                    frames.put(frame)
            except Exception as error:
                errors.append(error)
            finally:
                capture.release()
                frames.put(None)

        worker = Worker(work)
        try:
            while (frame := frames.get()) is not None:
                yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            worker.stop()
        raise StreamError(
            f'The camera {self.device} stopped giving images: it was disconnected or switched off, '
            'or the connection broke.'
        ) from (errors.pop() if errors else None)

    def _opened(self) -> Any:
        capture = require_opencv('Reading cameras').VideoCapture(self.device)
        if not capture.isOpened():
            capture.release()
            raise StreamError(
                f'The camera {self.device} cannot be opened: it is not connected, another program '
                'uses it, or you are not allowed to read it.'
            )
        return capture
