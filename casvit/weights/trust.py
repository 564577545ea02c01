"""Whether files of weights are trusted, so that they may run code."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_trusted = ContextVar('trusted', default=False)

WARNING = (
    '--trust: files of weights are unpickled without any check, and can run any code with your '
    'rights. Use it for files that you or people you know have made.'
)


@contextmanager
def trusting(trusted: bool = True) -> Iterator[None]:
    """Context in which all files of weights are unpickled, whatever code they name.

    Args:
        trusted: If not, nothing changes.
    """
    token = _trusted.set(trusted or _trusted.get())
    try:
        yield
    finally:
        _trusted.reset(token)


def is_trusted() -> bool:
    """Whether files of weights may run code now."""
    return _trusted.get()
