"""Pages that commands write from records, and their plots."""

import os
from argparse import Namespace
from pathlib import Path

from casvit.errors import CliError
from casvit.files import write_whole
from casvit.sentences import reason_of


def require_page_and_records(args: Namespace) -> None:
    """Checks that ``--page`` and ``--records`` are given together.

    Args:
        args: The parsed arguments.

    Raises:
        CliError: They are not.
    """
    if bool(args.page) != bool(args.records):
        raise CliError('--page needs --records, from which it is written, and the reverse.')


def write_file(content: str | bytes, path: Path) -> None:
    """Writes a file, whole or not at all.

    Raises:
        CliError: It cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> CliError:
    """The error of a file that cannot be written."""
    return CliError(f'{path} cannot be written: {reason_of(error)}.')


def address(file: Path, page: Path) -> str:
    """A file as a link on a page."""
    return Path(os.path.relpath(file, page.parent)).as_posix()
