"""Opens a file of weights: its format is recognised by its content, never by its name."""

import errno
import gc
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from casvit.errors import CheckpointError, DamagedCheckpointError
from casvit_mm.models.checkpoint.content.archive import Archive
from casvit_mm.models.checkpoint.content.digests import Verification
from casvit_mm.models.checkpoint.content.problems import (
    DamagedError,
    ForbiddenNameError,
    UnsupportedError,
    shown,
)
from casvit_mm.models.checkpoint.content.stream import stream_content
from casvit_mm.models.checkpoint.content.tensors_only import (
    is_safetensors,
    safetensors_content,
)

START = 512
"""Bytes that tell the format of a file."""
ZIP = (b'PK\x03\x04', b'PK\x05\x06')
PICKLES = (b'\x80', b'L119547037146038801333356L')
"""Starts of a pickle; protocols 0 and 1 write the magic number in decimal digits."""
TAR_MARK = slice(257, 262)
OTHERS = {
    b'version https://git-lfs': 'a pointer of git-lfs to the weights; run `git lfs pull`',
    b'\x1f\x8b': 'a compressed file; unpack it first',
    b'BZh': 'a compressed file; unpack it first',
    b'\xfd7zXZ': 'a compressed file; unpack it first',
    b'\x89HDF': 'an HDF5 file',
    b'%PDF': 'a PDF document',
    b'\x89PNG': 'an image',
    b'\xff\xd8\xff': 'an image',
}
PAGES = (b'<!doctype html', b'<html', b'<?xml', b'<head')


Told = Callable[[Verification], object]
"""Is told how a file was verified."""


def read_content(
    local: Path, name: str, map_location: Any = 'cpu', tell: Told | None = None
) -> Any:
    """Reads what a file of weights holds, as plain data, tensors, arrays and records.

    Args:
        local: The file.
        name: Its name, for messages.
        map_location: Device of the tensors, as for ``torch.load``.
        tell: Is called with how the content was verified, once it is read.

    Raises:
        DamagedCheckpointError: It is not a file of weights, or it is damaged.
        CheckpointError: It holds what it must not.
        OSError: It cannot be opened.
    """
    size = 0
    try:
        with _opened(local) as file, _without_collection():
            size = os.fstat(file.fileno()).st_size
            content, verification = _content(file, size, local, map_location)
    except OSError as error:
        # A damaged archive may send its reader to a place in front of the file.
        if error.errno != errno.EINVAL:
            raise
        raise _damaged(name, size, 'it names a place outside of it') from error
    except ForbiddenNameError as error:
        raise CheckpointError(
            f'The checkpoint {name} holds an object of type {error}, which is not a weight and '
            'could run code when it is loaded. If you trust the file, save only its weights '
            '(torch.save(model.state_dict(), …)).'
        ) from error
    except UnsupportedError as error:
        raise CheckpointError(f'The file {name} {error}') from error
    except MemoryError as error:
        raise CheckpointError(
            f'The file {name} ({size:,} bytes) does not fit into the memory of this machine.'
        ) from error
    except DamagedError as error:
        raise _damaged(name, size, str(error)) from error
    except Exception as error:
        # A file that was damaged on purpose may make any library raise anything.
        reason = shown(str(error).strip().partition('\n')[0]) or type(error).__name__
        raise _damaged(name, size, reason) from error
    if tell is not None:
        tell(verification)
    return content


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pauses Python's search for cycles, which takes most of the time if there are many objects."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _damaged(name: str, size: int, reason: str) -> DamagedCheckpointError:
    what = 'safetensors file' if name.endswith('.safetensors') else 'checkpoint'
    return DamagedCheckpointError(
        f'The file {name} is not a {what}, or it is damaged ({size:,} bytes; {reason}). '
        'Expected a torch.save file or .safetensors.',
        f'damaged: {reason}',
    )


def _opened(local: Path) -> IO[bytes]:
    # A pipe would wait for somebody to write into it, and a device may do anything.
    if not stat.S_ISREG(local.stat().st_mode):
        raise UnsupportedError('is not a regular file.')
    return local.open('rb')


def _content(
    file: IO[bytes], size: int, local: Path, map_location: Any
) -> tuple[Any, Verification]:
    start = file.read(START)
    file.seek(0)
    if start.startswith(ZIP):
        archive = Archive(file)
        return archive.content(map_location), archive.verification
    if start[TAR_MARK] == b'ustar':
        raise UnsupportedError(
            'is a tar archive. torch up to 0.1.9 wrote weights like that, which is not read. Load '
            'and save it again with a version of torch below 2.6.'
        )
    if start.startswith(PICKLES):
        return stream_content(file, size, map_location), Verification.NONE
    if is_safetensors(start, size):
        return safetensors_content(file, size, local, map_location), Verification.NONE
    raise DamagedError(_what(start))


def _what(start: bytes) -> str:
    if not start:
        return 'it is empty'
    for mark, what in OTHERS.items():
        if start.startswith(mark):
            return f'it is {what}'
    if start.lstrip(b'\xef\xbb\xbf \t\r\n').lower().startswith(PAGES):
        return 'it is a web page instead of the weights; download it again'
    return 'its format is unknown'
