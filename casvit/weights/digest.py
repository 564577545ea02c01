"""The SHA-256 of a file, recorded next to it as `sha256sum` writes it."""

import hashlib
import re
from pathlib import Path

from casvit.errors import CheckpointError
from casvit.files import write_whole

CHUNK = 1 << 20


def digest_file(file: Path) -> Path:
    """The file next to it that records its SHA-256."""
    return file.with_name(f'{file.name}.sha256')


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with file.open('rb') as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def record(file: Path) -> None:
    """Records the SHA-256 of a file next to it; ``sha256sum --check`` reads it.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(digest_file(file), f'{sha256(file)}  {file.name}\n')


def require_unchanged(file: Path) -> None:
    """Checks that a file still has the SHA-256 recorded next to it, if there is one.

    Raises:
        CheckpointError: It has another one, or the record cannot be read.
        OSError: The file cannot be read.
    """
    place = digest_file(file)
    try:
        recorded = re.match(r'([0-9a-f]{64})\b', place.read_text(encoding='utf-8').lower())
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        recorded = None
    if recorded is None:
        raise CheckpointError(
            f'{place} holds no SHA-256 as sha256sum writes it: delete it to record that of '
            f'{file.name} again.'
        )
    if recorded[1] != sha256(file):
        raise CheckpointError(
            f'{file} has changed since its SHA-256 was recorded in {place.name}: it is damaged, or '
            f'another file. If you replaced it on purpose, delete {place}; otherwise delete both '
            'to download it again.'
        )
