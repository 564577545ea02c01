"""The SHA-256 of every record of an archive, in one more record that torch.load ignores.

The CRC-32 of a zip archive has 32 bits, which is little for a file that is copied for years, and
is not protected itself.
"""

import hashlib
import json
import string
import zipfile
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import IO

from casvit_mm.models.checkpoint.content.limits import CHUNK, DIGEST_LIST_BYTES
from casvit_mm.models.checkpoint.content.problems import DamagedError, TooLargeError, shown

RECORD = 'casvit/sha256.json'
"""Where the list is, in the folder of the archive: names of the other records in that folder, and
their SHA-256 in hexadecimal digits."""
DIGITS = 64


class Verification(Enum):
    """How the content of a file was verified when it was read."""

    DIGESTS = 'verified'
    CHECKSUMS = 'saved without checksums; only its CRC-32 was verified'
    NONE = 'unverified'


def add_digests(file: Path | IO[bytes]) -> None:
    """Adds the list to an archive of ``torch.save`` that is not in use yet.

    Args:
        file: The file, changed in place.

    Raises:
        OSError: It cannot be read or written.
        zipfile.BadZipFile: It is no archive, or not what was written.
    """
    with zipfile.ZipFile(file, 'a', zipfile.ZIP_STORED) as archive:
        names = archive.namelist()
        folder = names[0].partition('/')[0] + '/'
        found = {name.removeprefix(folder): _digest(archive, name) for name in names}
        # A file that is written again has the same bytes.
        archive.writestr(zipfile.ZipInfo(folder + RECORD), json.dumps(found))


def _digest(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as record:
        while chunk := record.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def require_short(size: int) -> None:
    """Checks the size of a list before it is read.

    Raises:
        TooLargeError: It is larger than that of any checkpoint.
    """
    if size > DIGEST_LIST_BYTES:
        raise TooLargeError(f'its list of checksums takes {size:,} bytes')


def listed(content: bytes | bytearray, names: Iterable[str]) -> Mapping[str, bytes]:
    """Reads a list.

    Args:
        content: The record.
        names: Names of the other records of the archive, in its folder.

    Returns:
        The SHA-256 of each record.

    Raises:
        DamagedError: It is something else, or lists a record that is missing.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError('its list of checksums is not valid JSON') from error
    if not isinstance(found, dict) or not all(map(_is_digest, found.values())):
        raise DamagedError('its list of checksums holds something else than checksums')
    if missing := sorted(found.keys() - set(names)):
        raise DamagedError(f'its zip archive lacks the record {shown(missing[0])}')
    return {name: bytes.fromhex(text) for name, text in found.items()}


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == DIGITS and set(value) <= set(string.hexdigits)
