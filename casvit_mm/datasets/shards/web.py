"""Reading parts of files from a web server, by Range requests over a connection that is kept.

With the standard library: fsspec's HTTP needs further packages, and a thread of its own that does
not survive a fork.
"""

import http.client
import os
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request

from casvit.errors import DatasetError
from casvit.sentences import first_line, reason_of
from casvit_mm.datasets.shards.sources import (
    Patience,
    StorageError,
    TransientError,
    another_size,
    missing,
)

PIECE = 1 << 18
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
# Too slow, too many requests, and errors of the server or of what is before it.
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class HttpSource:
    """A folder on a web server.

    Args:
        folder: Its URL.
        patience: How long to wait.
    """

    def __init__(self, folder: str, patience: Patience) -> None:
        self.folder, self.patience = folder, patience
        self._local = threading.local()

    def read(self, name: str, start: int, length: int, total: int) -> bytes:
        """Reads a part of a file."""
        if not length:
            return b''
        url = self._url(name)

        def once(end: float) -> bytes:
            last = start + length - 1
            answer = self._ask(url, {'Range': f'bytes={start}-{last}'}, end)
            if answer.status == 416:
                raise another_size(url, self._total(answer), total)
            if answer.status == 200:
                self._drop()
                raise StorageError(
                    f'The server of {url} ignores Range requests and sends whole files: use one '
                    'that supports them, or copy the dataset to this machine.'
                )
            found = re.fullmatch(r'bytes (\d+)-(\d+)/(\d+)', answer.headers['Content-Range'] or '')
            if answer.status != 206 or not found:
                raise self._unexpected(url, answer)
            first, end_of_part, size = map(int, found.groups())
            if size != total:
                self._drop()
                raise another_size(url, size, total)
            if (first, end_of_part) != (start, last):
                raise self._unexpected(url, answer)
            content = self._body(answer, length, end)
            if len(content) < length:
                raise TransientError('the connection ended within the answer')
            return content

        return self.patience.retried(url, once)

    def read_all(self, name: str, limit: int) -> bytes:
        """Reads a file of unknown size."""
        url = self._url(name)

        def once(end: float) -> bytes:
            answer = self._ask(url, {}, end)
            if answer.status != 200:
                raise self._unexpected(url, answer)
            declared = answer.length
            content = self._body(answer, limit + 1, end)
            if len(content) > limit:
                self._drop()
            elif declared is not None and len(content) != declared:
                raise TransientError('the connection ended within the answer')
            return content

        return self.patience.retried(url, once)

    def _url(self, name: str) -> str:
        return f'{self.folder}/{urllib.parse.quote(name)}'

    def _ask(self, url: str, headers: dict[str, str], end: float) -> http.client.HTTPResponse:
        """Sends a request and reads the head of the answer, following redirects."""
        for _ in range(MOST_REDIRECTS):
            answer = self._answer(url, headers, end)
            if answer.status in REDIRECTS:
                target = urllib.parse.urljoin(url, answer.headers['Location'] or '')
                self._drop()
                scheme = urllib.parse.urlsplit(target).scheme
                if scheme not in ('http', 'https') or (
                    url.startswith('https') and scheme == 'http'
                ):
                    raise StorageError(f'{url} leads to {target!r:.200}, which is not followed.')
                url = target
                continue
            if answer.status in TRANSIENT:
                self._drop()
                raise TransientError(f'the server answers {answer.status} {answer.reason}')
            if answer.status in (404, 410):
                self._drop()
                raise missing(url)
            return answer
        raise StorageError(f'{url} leads from one address to the next without an end.')

    def _answer(self, url: str, headers: dict[str, str], end: float) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        headers = {'Accept-Encoding': 'identity', 'User-Agent': 'casvit', **headers}
        # The server closes a connection that was not used for a while; then a new one is made.
        for kept in (True, False):
            connection, target, reused = self._connection(parts, keep=kept)
            try:
                seconds = max(0.1, min(self.patience.timeout, end - time.monotonic()))
                connection.timeout = seconds
                if connection.sock is not None:
                    connection.sock.settimeout(seconds)
                connection.request('GET', target, headers=headers)
                return connection.getresponse()
            except ssl.SSLCertVerificationError as error:
                self._drop()
                raise StorageError(f'The certificate of {url} is not valid: {error}.') from error
            except TimeoutError as error:
                self._drop()
                raise TransientError(f'no answer within {seconds:.0f} s') from error
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if not reused:
                    raise TransientError(_reason(error)) from error
        raise AssertionError('a new connection is not a reused one')

    def _connection(
        self, parts: urllib.parse.SplitResult, *, keep: bool
    ) -> tuple[http.client.HTTPConnection, str, bool]:
        """A connection of this thread of this process to a host, and what to request from it."""
        target = urllib.parse.urlunsplit(('', '', parts.path or '/', parts.query, ''))
        key = os.getpid(), parts.scheme, parts.netloc
        host, port = parts.hostname or '', parts.port
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy and urllib.request.proxy_bypass(host):
            proxy = None
        if proxy and parts.scheme == 'http':
            target = urllib.parse.urlunsplit((*parts[:4], ''))
        if keep and getattr(self._local, 'key', None) == key:
            connection = self._local.connection
            return connection, target, connection.sock is not None
        kind = (
            http.client.HTTPSConnection if parts.scheme == 'https' else http.client.HTTPConnection
        )
        if proxy:
            place = urllib.parse.urlsplit(proxy if '://' in proxy else f'http://{proxy}')
            connection = kind(place.hostname or '', place.port)
            if parts.scheme == 'https':
                connection.set_tunnel(host, port)
        else:
            connection = kind(host, port)
        self._local.key, self._local.connection = key, connection
        return connection, target, False

    def _body(self, answer: http.client.HTTPResponse, most: int, end: float) -> bytes:
        """Reads an answer, or the start of one that is longer than allowed."""
        pieces, left = [], most
        try:
            while left and (piece := answer.read(min(PIECE, left))):
                pieces.append(piece)
                left -= len(piece)
                if time.monotonic() > end:
                    raise TimeoutError
        except TimeoutError as error:
            self._drop()
            raise TransientError('the answer stopped on its way') from error
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise TransientError(_reason(error)) from error
        if not answer.isclosed():
            self._drop()
        return b''.join(pieces)

    def _total(self, answer: http.client.HTTPResponse) -> int:
        found = re.fullmatch(r'bytes \*/(\d+)', answer.headers['Content-Range'] or '')
        self._drop()
        return int(found[1]) if found else 0

    def _unexpected(self, url: str, answer: http.client.HTTPResponse) -> DatasetError:
        self._drop()
        return StorageError(
            f'{url} cannot be read: the server answers {answer.status} {answer.reason}.'
        )

    def _drop(self) -> None:
        """Closes the connection, which may hold the rest of an answer."""
        connection = getattr(self._local, 'connection', None)
        if connection is not None:
            connection.close()
        self._local.key = None


def _reason(error: Exception) -> str:
    return reason_of(error) if isinstance(error, OSError) else first_line(error)
