"""Google Drive, as a download sees it: a local proxy that answers for its hosts, over TLS.

gdown recognises Drive by its host names, so requests for them go through this proxy, whose
certificates are those of a throw-away CA.
"""

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

CONFIRM = (
    '<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>'
    '<p class="uc-warning-caption">Google Drive can\'t scan this file for viruses.</p>'
    '<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    '<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="{id}">'
    '<input type="hidden" name="export" value="download">'
    '<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1-2">'
    '</form></body></html>'
)
QUOTA = (
    '<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>'
    '<p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>'
    '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. '
    'Please try accessing the file again later.</p></body></html>'
)
SIGN_IN = '<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>'


class Drive:
    """What Drive answers.

    Args:
        folder: A folder for the certificate.

    Attributes:
        content: The file that it sends.
        page: A page that it sends instead of the file; None to send the file.
        confirms: Whether a page that asks for a confirmation comes before the file, as for files
            that are too large for its virus scan.
        breaks_after: The number of bytes after which a transfer breaks off; None to send all.
        continues: Whether it sends a part of a file if asked.
        requests: Host, path and Range header of every request.
        proxy: The address of the proxy.
        certificates: The file of its CA.
    """

    def __init__(self, folder: Path) -> None:
        self.content = b''
        self.page: str | None = None
        self.confirms = True
        self.breaks_after: int | None = None
        self.continues = True
        self.requests: list[tuple[str, str, str | None]] = []
        self.proxy = ''
        authority = trustme.CA()
        self.certificates = folder / 'ca.pem'
        authority.cert_pem.write_to_path(str(self.certificates))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        hosts = 'drive.google.com', 'drive.usercontent.google.com'
        authority.issue_cert(*hosts).configure_cert(self.tls)

    @property
    def options(self) -> dict[str, str]:
        """The arguments with which gdown goes through the proxy."""
        return dict(proxy=self.proxy, verify=str(self.certificates))

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of every request for the file itself."""
        return [part for host, _, part in self.requests if 'usercontent' in host]


@contextmanager
def google_drive(folder: Path) -> Iterator[Drive]:
    """Runs the proxy while the context is open."""
    drive = Drive(folder)

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers['Host']
            drive.requests.append((host, self.path, self.headers['Range']))
            if drive.page is not None:
                self.send_page(drive.page)
            elif host == 'drive.google.com' and drive.confirms:
                self.send_page(CONFIRM.format(id=re.search(r'id=([\w-]+)', self.path)[1]))
            else:
                self.send_file()

        def send_page(self, text: str) -> None:
            self.send_response(200)
            self.send_header('Content-Type', 'text/html; charset=utf-8')
            self.send_header('Content-Length', str(len(text)))
            self.send_header('Set-Cookie', 'NID=1; domain=.google.com; Secure; Max-Age=9999')
            self.end_headers()
            self.wfile.write(text.encode())

        def send_file(self) -> None:
            content, asked = drive.content, self.headers['Range']
            start = int(re.fullmatch(r'bytes=(\d+)-', asked)[1]) if asked else 0
            self.send_response(206 if start and drive.continues else 200)
            if start and drive.continues:
                size = len(content)
                self.send_header('Content-Range', f'bytes {start}-{size - 1}/{size}')
                content = content[start:]
            self.send_header('Content-Type', 'application/octet-stream')
            self.send_header('Content-Disposition', 'attachment; filename="checkpoint.pth"')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content[: drive.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            try:
                with drive.tls.wrap_socket(self.connection, server_side=True) as stream:
                    Files(stream, self.client_address, self.server)
            except (ssl.SSLError, ConnectionError):
                # A client that does not trust the certificate hangs up.
                pass

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Proxy) as server:
        drive.proxy = f'http://127.0.0.1:{server.server_address[1]}'
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02))
        thread.start()
        try:
            yield drive
        finally:
            server.shutdown()
            thread.join()
