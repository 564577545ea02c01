"""An FTP server in a process of its own, which can be silent or gone: a storage of fsspec."""

import signal
import socket
import subprocess
import sys
import time


class FtpServer:
    """Serves a folder to anyone who asks, as a context."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.host = f'127.0.0.1:{self.port}'

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        address = ('-i', '127.0.0.1', '-p', str(self.port))
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'pyftpdlib', *address, '-d', str(self.folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), 5).close()
                return
            except OSError:
                assert time.monotonic() < end, 'the FTP server does not start'
                time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def be_silent(self):
        """Accepts connections from now on, and says nothing."""
        self.process.send_signal(signal.SIGSTOP)
