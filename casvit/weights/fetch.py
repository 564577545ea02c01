"""Downloads published weights from Google Drive: checked first, then put in place whole."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from casvit.errors import CheckpointError, MissingPackageError, UserError
from casvit.extras import how_to_install
from casvit.files import is_file, written_whole
from casvit.tables import PublishedWeights
from casvit.terminal.progress import Progress

# Seconds to connect, and between two packets.
TIMEOUT = (10, 60)
RETRIES = 3
QUOTA = ('too many users', 'quota')


class TransferError(UserError, RuntimeError):
    """A download failed; what has arrived is kept, and the next one continues it."""


class _NothingToContinueError(Exception):
    """The server does not continue an earlier download."""


def fetch(
    weights: PublishedWeights,
    folder: Path,
    check: Callable[[Path], object],
    *,
    proxy: str | None = None,
    verify: bool | str = True,
    retries: int = RETRIES,
) -> Path:
    """Downloads published weights into a folder.

    The file is transferred next to its place, in a hidden folder. If that is interrupted, the next
    call continues it. No cookies are read or kept.

    Args:
        weights: The weights.
        folder: The folder; it is created if needed.
        check: Called with the path of the transferred file; raises CheckpointError to refuse it.
        proxy: Address of a proxy; by default that of the environment (``HTTPS_PROXY``).
        verify: Whether to verify the certificate of the server, or a file of certificates to
            trust; by default that of the environment (``REQUESTS_CA_BUNDLE``).
        retries: How often a transfer that breaks off is continued at once.

    Returns:
        The file. One that is already there is kept as it is.

    Raises:
        MissingPackageError: gdown is not installed.
        TransferError: The file cannot be downloaded or written.
        CheckpointError: What arrived is not the file; nothing of it is kept.
    """
    file = folder / weights.file_name
    by_hand = (
        f'Or download it with a browser: open {weights.address}, save the file as {file}, and run '
        f'`casvit weights check {weights.name}`.'
    )
    gdown, filelock = _packages(by_hand)
    unfinished = folder / f'.{file.name}.part'
    options = dict(proxy=proxy, verify=verify, retries=retries)
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(unfinished / 'lock', timeout=0), _emptied(unfinished):
            # Another process may just have finished it.
            if not is_file(file):
                arrived = _checked(gdown, weights, unfinished, check, options)
                with written_whole(file) as whole:
                    arrived.replace(whole)
    except filelock.Timeout as error:
        raise TransferError(f'Another process is downloading {file}.') from error
    except (TransferError, CheckpointError) as error:
        raise type(error)(f'{error} {by_hand}') from error
    except OSError as error:
        reason = error.strerror or error
        raise TransferError(f'{error.filename or folder} cannot be written: {reason}.') from error
    return file


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Removes a folder at the end, unless it holds a part of a file that can be continued."""
    try:
        yield
    finally:
        if not any(folder.glob('*.part')):
            shutil.rmtree(folder, ignore_errors=True)


def _packages(by_hand: str) -> tuple[ModuleType, ModuleType]:
    try:
        # gdown requires filelock.
        import filelock
        import gdown
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'Downloads need {error.name}, which is not installed: {how_to_install("gdown")}. '
            f'{by_hand}'
        ) from error
    return gdown, filelock


def _checked(
    gdown: ModuleType,
    weights: PublishedWeights,
    folder: Path,
    check: Callable[[Path], object],
    options: dict[str, Any],
) -> Path:
    """Transfers the file and checks it; starts again if continuing an earlier try fails."""
    file = folder / weights.file_name
    earlier = file.exists() or any(folder.glob('*.part'))
    try:
        _transfer(gdown, weights, file, options, earlier)
        _refuse_page(file)
        check(file)
    except (_NothingToContinueError, CheckpointError) as error:
        for leftover in (*folder.glob('*.part'), file):
            leftover.unlink(missing_ok=True)
        if earlier:
            return _checked(gdown, weights, folder, check, options)
        raise CheckpointError(
            f'What Google Drive sent for {weights.name} is not kept: {error}'
        ) from error
    return file


def _transfer(
    gdown: ModuleType,
    weights: PublishedWeights,
    file: Path,
    options: dict[str, Any],
    earlier: bool,
) -> None:
    # gdown requires requests.
    from requests import RequestException

    arrived: list[int] = []
    with Progress(desc=weights.name, unit='B', unit_scale=True, leave=False) as bar:

        def progress(received: int, total: int | None) -> None:
            arrived[:] = [received]
            bar.total = total
            bar.update(received - bar.n)

        try:
            gdown.download(
                id=weights.drive_id,
                output=str(file),
                quiet=True,
                use_cookies=False,
                resume=True,
                timeout=TIMEOUT,
                progress=progress,
                **options,
            )
        except gdown.FileURLRetrievalError as error:
            raise TransferError(_refusal(weights, str(error))) from error
        except (gdown.DownloadError, RequestException) as error:
            if earlier and not arrived and isinstance(error, gdown.DownloadError):
                raise _NothingToContinueError from error
            if arrived:
                raise TransferError(
                    f'The download of {weights.name} broke off after {arrived[0]:,} bytes. Run the '
                    'command again to continue it.'
                ) from error
            raise TransferError(
                f'Google Drive cannot be reached ({_reason(error)}). If this machine needs a '
                'proxy, set HTTPS_PROXY; if the proxy has a certificate of its own, set '
                'REQUESTS_CA_BUNDLE to its file.'
            ) from error


def _reason(error: BaseException) -> str:
    """What the system said, without the layers of libraries around it."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__


def _refusal(weights: PublishedWeights, message: str) -> str:
    """Why Google Drive sent a page instead of the file."""
    if any(word in message.lower() for word in QUOTA):
        return (
            f'Google Drive does not send {weights.name} at the moment: too many people have '
            'downloaded it. Try again later, usually within a day.'
        )
    return (
        f'Google Drive sent a page instead of {weights.name}: the file may have moved, or needs a '
        'confirmation that only a browser can give.'
    )


def _refuse_page(file: Path) -> None:
    """Refuses a web page under the name of a checkpoint, which some proxies send."""
    with file.open('rb') as stream:
        start = stream.read(512).lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if start.startswith((b'<!doctype', b'<html', b'<head', b'<?xml')):
        raise CheckpointError('it is a web page, not a checkpoint.')
