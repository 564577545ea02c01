"""Threads that read images while the model computes; they end with the iterator they work for."""

import contextvars
import threading
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar('Item')
Read = TypeVar('Read')

PATIENCE = 5.0
"""Seconds to wait for a thread whose source does not answer; it ends as soon as that does."""


class Worker:
    """A thread that works for a generator, and is stopped by it.

    It sees the context variables of the thread that starts it.

    Args:
        work: What it does; it returns soon after :attr:`stopped` is set.

    Attributes:
        stopped: Whether it is to end.
    """

    def __init__(self, work: Callable[['Worker'], None]) -> None:
        self.stopped = False
        # A source may block for ever; that must not keep the program from ending.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(work, self),
            name='casvit reading',
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and waits until it has ended, at most :data:`PATIENCE`."""
        self.stopped = True
        # The garbage collector closes forgotten generators in whatever thread it runs.
        if self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], ahead: int
) -> Generator[Read, None, None]:
    """Takes and reads items in a background thread, while the last ones are being used.

    The thread starts with the first ``next()``. It ends with the items, with the first error, or
    when the generator is closed; closing waits for the item that is being read, if that takes no
    longer than :data:`PATIENCE`.

    Args:
        items: The items. Only the thread takes any.
        read: Reads an item, in the thread.
        ahead: The number of items that the thread is ahead at most; at least 1.

    Yields:
        What was read, in the order of the items.

    Raises:
        Exception: Taking or reading an item failed; all items before it are given first.
    """
    # Unlike locks of Python code, these queues also work if the garbage collector interrupts one
    # of their methods to close the generator.
    free: SimpleQueue[None] = SimpleQueue()
    ready: SimpleQueue[tuple[Read, ...]] = SimpleQueue()
    errors: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            for item in items:
                ready.put((read(item),))
                # Else an image waits here for the next one.
                del item
                free.get()
                if worker.stopped:
                    break
        except BaseException as error:
            errors.append(error)
        finally:
            ready.put(())

    for _ in range(ahead - 1):
        free.put(None)
    worker = Worker(work)
    try:
        while got := ready.get():
            free.put(None)
            yield got[0]
    finally:
        worker.stopped = True
        free.put(None)
        worker.stop()
    if errors:
        raise errors.pop()
