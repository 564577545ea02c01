"""What can be wrong with a file; the caller adds its name and makes a sentence of it."""

from casvit_mm.models.checkpoint.content.limits import MESSAGE_NAME


class ContentError(Exception):
    """A file cannot be read."""


class DamagedError(ContentError):
    """A file breaks the rules of its format; the message says how."""


class TooLargeError(DamagedError):
    """A file asks for more than a checkpoint needs."""


class ForbiddenNameError(ContentError):
    """A file names an object that does not belong in a checkpoint; the message is its name."""


class UnsupportedError(ContentError):
    """A file is something else than expected; the message continues 'The file NAME …'."""


def shown(text: object) -> str:
    """A text from a file for a message: one line, printable, not long."""
    plain = ''.join(char if char.isprintable() else '?' for char in str(text)[: MESSAGE_NAME + 1])
    return plain if len(plain) <= MESSAGE_NAME else f'{plain[:MESSAGE_NAME]}…'
