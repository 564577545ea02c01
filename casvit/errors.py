"""What a person can mend: errors whose message says what is wrong, where, and what to do."""


class UserError(Exception):
    """A mistake that a person can mend; the message is the whole explanation.

    Commands print it without a traceback and end with exit code 2. Other modules have kinds of
    their own, each a subclass.
    """


class CliError(UserError):
    """A command cannot do what it was asked to."""


class DatasetError(UserError, ValueError):
    """Data are not there, or not what a run needs."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint is missing, unreadable, or does not fit; the message says what to do."""


class MissingPackageError(UserError, RuntimeError):
    """Something asks for a package that cannot be imported; the message says what to install."""
