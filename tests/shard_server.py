"""A web server for sharded datasets, which can also behave as bad ones do."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class Behaviour:
    """What a server does.

    Attributes:
        ranges: Whether it answers Range requests with a part.
        fails_every: Every how many requests it answers with the status ``failure``; 0 for never.
        breaks_every: Every how many requests it breaks off within the answer; 0 for never.
        stalls: Whether it sends half of each answer, and nothing more.
        redirects: Path of another place that it sends clients to.
        requests: Path and Range header of each request.
        sent: Number of bytes of content that it sent.
        connections: Number of connections so far.
    """

    def __init__(self):
        self.ranges = True
        self.fails_every = self.breaks_every = 0
        self.failure = 503
        self.stalls = False
        self.redirects = ''
        self.requests = []
        self.sent = 0
        self.connections = 0
        self.released = threading.Event()


def read_into(queue, backend, address):
    """Reads a file in another process; here, since this module takes no seconds to import."""
    queue.put(backend.get(address))


@contextmanager
def serving(folder: Path):
    """Serves a folder; yields ``host:port`` and the behaviour, which may be changed."""
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        # Otherwise the content of an answer waits 40 ms until its header is acknowledged.
        disable_nagle_algorithm = True

        def setup(self):
            super().setup()
            behaviour.connections += 1

        def do_GET(self):
            _answer(self, folder, behaviour)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f'127.0.0.1:{server.server_port}', behaviour
    finally:
        behaviour.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(request, folder, behaviour):
    asked = request.headers['Range']
    behaviour.requests.append((request.path, asked))
    number = len(behaviour.requests)
    if behaviour.fails_every and number % behaviour.fails_every == 0:
        return _empty(request, behaviour.failure)
    if behaviour.redirects and not request.path.startswith(behaviour.redirects):
        return _empty(request, 302, Location=behaviour.redirects + request.path)
    path = folder / unquote(request.path.removeprefix(behaviour.redirects)).lstrip('/')
    if not path.is_file():
        return _empty(request, 404)
    content = path.read_bytes()
    size = len(content)
    part = re.fullmatch(r'bytes=(\d+)-(\d+)', asked or '') if behaviour.ranges else None
    if part and int(part[1]) >= size:
        return _empty(request, 416, **{'Content-Range': f'bytes */{size}'})
    request.send_response(206 if part else 200)
    if part:
        start, end = int(part[1]), min(int(part[2]), size - 1)
        content = content[start : end + 1]
        request.send_header('Content-Range', f'bytes {start}-{end}/{size}')
    request.send_header('Content-Length', str(len(content)))
    request.end_headers()
    half = content[: len(content) // 2]
    try:
        if behaviour.stalls:
            request.wfile.write(half)
            request.wfile.flush()
            behaviour.released.wait(20)
            request.close_connection = True
        elif behaviour.breaks_every and number % behaviour.breaks_every == 0:
            request.wfile.write(half)
            request.close_connection = True
        else:
            for start in range(0, len(content), 1 << 16):
                # Before the client can have it, and look here.
                behaviour.sent += min(1 << 16, len(content) - start)
                request.wfile.write(content[start : start + (1 << 16)])
    except OSError:
        # The client has seen enough.
        request.close_connection = True


def _empty(request, status, **headers):
    request.send_response(status)
    for name, value in {'Content-Length': '0', **headers}.items():
        request.send_header(name, value)
    request.end_headers()
