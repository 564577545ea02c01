"""Errors that users can fix: the message says what is wrong, where, and what to do."""


class UserError(Exception):
    """An error that the user can fix; the message is the full explanation.

    Commands print it without a traceback and exit with code 2. Other modules define subclasses.
    """


class CliError(UserError):
    """A command cannot do what was asked."""


class DatasetError(UserError, ValueError):
    """Data are missing, or not what a run needs."""


class SizeError(UserError, ValueError):
    """There is no such size of CAS-ViT, or no such stage in it."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint is missing, unreadable or does not fit the model."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is not what was once written: it is damaged, incomplete, or cannot be opened.

    Attributes:
        reason: The same in a few words, without the name of the file.
    """

    def __init__(self, message: str, reason: str = '') -> None:
        super().__init__(message)
        self.reason = reason or message


class MissingPackageError(UserError, RuntimeError):
    """A required package cannot be imported; the message says what to install."""
