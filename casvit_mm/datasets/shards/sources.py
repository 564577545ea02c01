"""Where the files of a sharded dataset are: a folder, a web server, or any storage of fsspec."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Protocol, TypeVar

from casvit.errors import DatasetError, MissingPackageError
from casvit.sentences import first_line, reason_of
from casvit_mm.datasets.shards.address import HTTP

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
BELONGS = 'so the index does not belong to it, or it is not whole: copy the dataset again'

Result = TypeVar('Result')


class StorageError(DatasetError):
    """Storage does not answer, or not as it has to; no file of the dataset is damaged."""


class TransientError(Exception):
    """A try failed, and another one may not; the message is the reason."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for storage on another machine.

    Attributes:
        timeout: Seconds without any data after which a try has failed.
        time_limit: Seconds after which there is no further try.
        tries: Number of tries.
        options: Options of fsspec's file system, such as ``anon`` and ``endpoint_url`` of s3.
    """

    timeout: float = 20
    time_limit: float = 120
    tries: int = 6
    options: dict[str, Any] = field(default_factory=dict)

    def retried(self, address: str, action: Callable[[float], Result]) -> Result:
        """Does something until it works.

        Args:
            address: What is read, for the message.
            action: Called with the time, as of :func:`time.monotonic`, at which it has to give up;
                raises TransientError if it may work later.

        Raises:
            StorageError: It did not work within the tries and the time limit.
        """
        started = time.monotonic()
        end = started + self.time_limit
        pause = FIRST_PAUSE
        for number in range(1, self.tries + 1):
            try:
                return action(end)
            except TransientError as error:
                reason = error
            if number == self.tries or time.monotonic() + pause >= end:
                break
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        spent = time.monotonic() - started
        raise StorageError(
            f'{address} cannot be read: {reason} ({number} tries in {spent:.0f} s). Try again when '
            'the storage answers; a run continues with --resume.'
        )


class Source(Protocol):
    """A folder that files are read from."""

    def read(self, name: str, start: int, length: int, total: int) -> bytes:
        """Reads a part of a file.

        Args:
            name: Its name in the folder.
            start: Position of the first byte.
            length: Number of bytes.
            total: The size that the file has to have.

        Raises:
            StorageError: The file does not exist, has another size, or cannot be read.
        """

    def read_all(self, name: str, limit: int) -> bytes:
        """Reads a file of unknown size, at most one byte more than a limit."""


def source_of(folder: str, patience: Patience) -> Source:
    """The source for a folder.

    Args:
        folder: A local path, or a URL.
        patience: How long to wait.

    Raises:
        DatasetError: The protocol is unknown.
        MissingPackageError: The protocol needs a package that is not installed.
    """
    protocol = folder.partition('://')[0] if '://' in folder else ''
    if protocol in HTTP:
        from casvit_mm.datasets.shards.web import HttpSource

        return HttpSource(folder, patience)
    return FsspecSource(folder, patience) if protocol else LocalSource(folder)


class LocalSource:
    """A folder of this machine."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def read(self, name: str, start: int, length: int, total: int) -> bytes:
        """Reads a part of a file."""
        path = self.folder / name
        try:
            with path.open('rb', buffering=0) as file:
                size = file.seek(0, 2)
                if size != total:
                    raise another_size(str(path), size, total)
                file.seek(start)
                content = file.read(length)
                # The system reads at most 2 GiB at once.
                while len(content) < length and (more := file.read(length - len(content))):
                    content += more
                return content
        except OSError as error:
            raise self._unreadable(path, error) from error

    def read_all(self, name: str, limit: int) -> bytes:
        """Reads a file of unknown size."""
        path = self.folder / name
        try:
            with path.open('rb') as file:
                return file.read(limit + 1)
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: OSError) -> DatasetError:
        if isinstance(error, FileNotFoundError):
            return missing(str(path))
        return StorageError(f'{path} cannot be read: {reason_of(error)}.')


class FsspecSource:
    """A folder in the storage of a protocol of fsspec, which torch requires.

    Its packages differ in what they do about a connection that is gone or silent. So after every
    failure a new one is made, and what has not returned in time is given up.
    """

    def __init__(self, folder: str, patience: Patience) -> None:
        if '::' in folder:
            raise DatasetError(
                f"{folder!r} has '::', by which fsspec chains protocols: choose another name."
            )
        self.folder, self.patience = folder, patience
        self._files: tuple[Any, str] | None = None
        self._verified: set[str] = set()
        self.patience.retried(folder, lambda end: within(end, self._connected))

    def read(self, name: str, start: int, length: int, total: int) -> bytes:
        """Reads a part of a file."""
        # Once: it is a request of its own, and each image has a checksum.
        if name not in self._verified:
            if (size := self._size(name)) != total:
                raise another_size(f'{self.folder}/{name}', size, total)
            self._verified.add(name)
        return self._part(name, start, length)

    def read_all(self, name: str, limit: int) -> bytes:
        """Reads a file of unknown size."""
        return self._part(name, 0, min(self._size(name), limit + 1))

    def _size(self, name: str) -> int:
        return int(self._tried(name, lambda files, path: files.size(path)))

    def _part(self, name: str, start: int, length: int) -> bytes:
        content = self._tried(
            name, lambda files, path: files.cat_file(path, start=start, end=start + length)
        )
        if len(content) != length:
            raise StorageError(
                f'{self.folder}/{name} answers with {len(content):,} instead of {length:,} bytes.'
            )
        return bytes(content)

    def _connected(self) -> tuple[Any, str]:
        if self._files is None:
            from fsspec.core import url_to_fs

            try:
                # Instances of the cache may hold connections of another process.
                self._files = url_to_fs(
                    self.folder, skip_instance_cache=True, **self.patience.options
                )
            except ImportError as error:
                protocol = self.folder.partition('://')[0]
                raise MissingPackageError(
                    f'{protocol}:// needs a package that is not installed: {first_line(error)}.'
                ) from error
            except (TypeError, ValueError, PermissionError) as error:
                # Options or credentials that the package does not take: not for another try.
                reason = first_line(error)
                raise StorageError(f'{self.folder} cannot be opened: {reason}.') from error
            except Exception as error:
                raise TransientError(first_line(error)) from error
        return self._files

    def _tried(self, name: str, action: Callable[[Any, str], Any]) -> Any:
        address = f'{self.folder}/{name}'

        def once() -> Any:
            files, root = self._connected()
            try:
                return action(files, f'{root}/{name}')
            except FileNotFoundError as error:
                raise missing(address) from error
            except PermissionError as error:
                raise StorageError(f'{address} may not be read: {first_line(error)}.') from error
            except Exception as error:
                # Every package has its own errors of connections.
                raise TransientError(first_line(error)) from error

        def attempt(end: float) -> Any:
            try:
                return within(end, once)
            except TransientError:
                self._files = None
                raise

        return self.patience.retried(address, attempt)


def within(end: float, action: Callable[[], Result]) -> Result:
    """Does something in a thread, which is left alone if it has not ended in time.

    Args:
        end: The time, as of :func:`time.monotonic`.
        action: What is called; its errors are raised here.

    Raises:
        TransientError: It has not ended.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    seconds = max(0.0, end - time.monotonic())
    # A daemon: the process does not wait for it at its end.
    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TransientError(f'no answer within {seconds:.0f} s')
    return results[0]


def missing(address: str) -> DatasetError:
    """The error for a file that does not exist."""
    return StorageError(
        f'{address} does not exist: is this a folder that `casvit shard` wrote, and is it whole?'
    )


def another_size(address: str, size: int, total: int) -> DatasetError:
    """The error for a file of another size than the index says."""
    return StorageError(f'{address} has {size:,} bytes, but its index says {total:,}, {BELONGS}.')
