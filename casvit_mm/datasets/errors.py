"""What goes wrong with data, as one kind of error."""


class DatasetError(ValueError):
    """Data are not there, or not what a run needs; the message is the whole explanation."""
