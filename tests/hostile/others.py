"""What is no file of torch at all, and hostile ``.safetensors`` files."""

import gzip
import json
import os
import socket
import struct
from pathlib import Path


def _raw(content):
    return lambda path: Path(path).write_bytes(content)


def _socket(path):
    # The path of a socket may have some 100 characters only.
    here = Path.cwd()
    os.chdir(Path(path).parent)
    try:
        socket.socket(socket.AF_UNIX).bind(Path(path).name)
    finally:
        os.chdir(here)


def _safetensors(header, content=b'', length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return _raw(struct.pack('<Q', len(text) if length is None else length) + text + content)


def _entry(**changes):
    return {'w': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16], **changes}}


OTHERS = {
    'empty': _raw(b''),
    'a web page': _raw(b'\n<!DOCTYPE html><html><body>Sign in</body></html>'),
    'a page of XML': _raw(b'<?xml version="1.0"?><Error>AccessDenied</Error>'),
    'a pointer of git-lfs': _raw(b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n'),
    'compressed': _raw(gzip.compress(b'a' * 100)),
    'an image': _raw(b'\x89PNG\r\n\x1a\n'),
    'text': _raw(b'import os\nos.system("ls")\n'),
    'zeros': _raw(bytes(1000)),
    'a shell script': _raw(b'#!/bin/sh\ntouch /tmp/ran\n'),
    'a folder': lambda path: Path(path).mkdir(),
    'a pipe': os.mkfifo,
    'a link to a device': lambda path: Path(path).symlink_to('/dev/zero'),
    'a link to itself': lambda path: Path(path).symlink_to(path),
    'a link to nothing': lambda path: Path(path).symlink_to(f'{path}.gone'),
    'a socket': _socket,
    'safetensors with a header longer than the file': _safetensors(_entry(), length=10**12),
    'safetensors with a header of 9 MB': _safetensors(b'{' + b' ' * 9_000_000 + b'}'),
    'safetensors that are no JSON': _safetensors(b'{"w": ' + b' ' * 50),
    'safetensors nested deeply': _safetensors(b'{"w":' + b'[' * 100_000),
    'safetensors with a list': _safetensors(b'{"w": []}'),
    'safetensors beyond the file': _safetensors(_entry(data_offsets=[0, 10**9]), bytes(16)),
    'safetensors with a shape that does not fit': _safetensors(_entry(shape=[5]), bytes(16)),
    'safetensors with a shape that overflows': _safetensors(
        _entry(shape=[2**62, 2**62]), bytes(16)
    ),
    'safetensors with a negative shape': _safetensors(_entry(shape=[-4]), bytes(16)),
    'safetensors of an unknown type': _safetensors(_entry(dtype='PY'), bytes(16)),
    'safetensors that overlap': _safetensors({**_entry(), 'v': _entry()['w']}, bytes(16)),
    'safetensors with a gap': _safetensors(_entry(data_offsets=[16, 32]), bytes(32)),
    'safetensors without weights': _safetensors({'__metadata__': {'format': 'pt'}}),
}
