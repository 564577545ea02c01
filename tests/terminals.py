"""Pseudo terminals, and what stands on them."""

import fcntl
import os
import pty
import struct
import termios
import threading


class Terminal:
    """A pseudo terminal: ``stream`` writes to it, and ``text`` is what it got."""

    def __init__(self, columns=100):
        self.end, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 40, columns, 0, 0))
        self.stream = os.fdopen(slave, 'w', buffering=1, encoding='utf-8')
        self.got = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                self.got.append(os.read(self.end, 4096))
            except OSError:
                return

    def text(self):
        self.stream.close()
        self.reader.join()
        os.close(self.end)
        return b''.join(self.got).decode().replace('\r\n', '\n')


def rows(text):
    """The rows of a screen after a carriage return has moved to the start of a row."""
    return [row.split('\r')[-1] for row in text.split('\n')]
