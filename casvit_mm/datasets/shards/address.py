"""Addresses of files in a sharded dataset: ``shards+https://host/coco.shards/train2017/1.jpg``.

mmengine chooses a file backend by the text before ``://``, of which an address may have one only.
So the protocol is part of the prefix, and the ending ``.shards`` tells the folder of the shards
from the file in it, which needs no request.
"""

import re
import urllib.parse

from casvit.errors import DatasetError

PREFIX = 'shards'
ENDING = '.shards'
HTTP = ('http', 'https')
# Protocols of fsspec that store files, under the names in its registry.
PROTOCOLS = (
    *HTTP,
    *('s3', 's3a', 'gs', 'gcs', 'az', 'abfs', 'abfss', 'adl', 'oss', 'oci', 'tos', 'hf'),
    *('sftp', 'ssh', 'ftp', 'smb', 'hdfs', 'webhdfs', 'webdav', 'gdrive', 'dropbox', 'memory'),
)
PREFIXES = (PREFIX, *(f'{PREFIX}+{protocol}' for protocol in PROTOCOLS))
LONGEST_NAME = 4096


def is_sharded(address: str) -> bool:
    """Whether an address belongs to a sharded dataset, on this machine or another."""
    return '://' in address and address.partition('://')[0] in PREFIXES


def split_address(address: str) -> tuple[str, str]:
    """Splits an address into the folder of the shards and the name of a file in it.

    Args:
        address: As mm* joins it, on Windows with backslashes.

    Returns:
        The folder, as a local path or a URL, and the name, which is empty for the folder itself.

    Raises:
        DatasetError: It is not an address of a sharded dataset, or leads out of it.
    """
    prefix, _, path = address.replace('\\', '/').partition('://')
    if prefix not in PREFIXES:
        raise DatasetError(
            f'{address!r} is not an address of a sharded dataset: write {PREFIX}://FOLDER{ENDING}, '
            f'or for another machine {PREFIX}+https://HOST/FOLDER{ENDING}.'
        )
    parts = path.split('/')
    protocol = prefix.partition('+')[2]
    # First: other messages have the whole address.
    if protocol:
        _check_user(protocol, parts[0])
    end = next((i for i, part in enumerate(parts) if part.endswith(ENDING)), None)
    if end is None:
        raise DatasetError(
            f'{address!r} names no folder that ends in {ENDING!r}, as the folders end that '
            '`casvit shard` writes.'
        )
    folder = '/'.join(parts[: end + 1])
    # mm* joins folders that may end in a slash, or be '.'.
    name = '/'.join(part for part in parts[end + 1 :] if part not in ('', '.'))
    if name and (issue := name_issue(name)):
        raise DatasetError(f'{address!r} is not a file of a sharded dataset: its name {issue}.')
    if protocol in HTTP:
        _check_url(address, f'{protocol}://{folder}')
    return (f'{protocol}://{folder}' if protocol else folder), name


def name_issue(name: object) -> str:
    """Why a name cannot be that of a file in a sharded dataset, without a subject; or empty."""
    if not isinstance(name, str) or not name:
        return 'is not a text'
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return 'is not valid UTF-8'
    if length > LONGEST_NAME:
        return f'is longer than {LONGEST_NAME:,} bytes'
    if re.search(r'[\x00-\x1f\x7f]', name):
        return 'has control characters'
    if '\\' in name:
        return 'has a backslash'
    if name.startswith('/') or re.match(r'[A-Za-z]:(/|$)', name):
        return 'is absolute'
    if not {'', '.', '..'}.isdisjoint(name.split('/')):
        return "has an empty part, '.' or '..'"
    return ''


def _check_url(address: str, url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise DatasetError(f'{address!r} names no valid host.')
    if parts.query or parts.fragment:
        raise DatasetError(
            f'The address of {parts.hostname} has a query or a fragment, which are not supported: '
            'use a protocol with credentials of its own, such as s3 or sftp.'
        )


def _check_user(protocol: str, host: str) -> None:
    user, at, name = host.rpartition('@')
    if at and protocol in HTTP:
        raise DatasetError(
            f'The address of {name} has a user, which is not supported: use a protocol with '
            'credentials of its own, such as s3 or sftp.'
        )
    if ':' in user:
        raise DatasetError(
            f'The address of {name} has a password, which would be in logs and configs: use a key, '
            'or what the package of the protocol reads, such as environment variables.'
        )
