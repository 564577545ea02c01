"""Files in the container of torch before 1.6 that break its rules."""

import io
import pickle
import struct
import tarfile
from pathlib import Path

from hostile.parts import (
    FLOATS,
    MAGIC,
    checkpoint,
    group,
    legacy,
    memory,
    name,
    number,
    stream,
    streamed,
    tensor,
    text,
)

PLAIN = legacy(checkpoint())


def _view(*view):
    # A view in place of the None that the container has for memory without one.
    whole = memory('0', 4, 'torch.FloatStorage', 'cpu', group(*view))
    return checkpoint(weight=tensor((1,), (1,), of=whole))


def _tar(*members):
    def make(path):
        with tarfile.open(path, 'w') as archive:
            for member, kind in members:
                info = tarfile.TarInfo(member)
                info.type, info.mode = kind, 0o777
                archive.addfile(info, io.BytesIO())

    return make


def _raw(content):
    return lambda path: Path(path).write_bytes(content)


def _long_list():
    """A file whose list of weights has a megabyte of text 20,000 times, in two objects."""
    usual = pickle.dumps(['0'], 2)
    two = b''.join(text('a' * 10**6) + b'q' + bytes([place]) + b'0' for place in range(2))
    keys = b'\x80\x02' + two + b'](' + b'h\x00h\x01' * 10_000 + b'e.'
    return stream(PLAIN).replace(usual, keys)


STREAMS = {
    'another magic number': streamed(PLAIN, magic=MAGIC + 1),
    'a magic number that is text': streamed(PLAIN, magic=str(MAGIC)),
    'another version': streamed(PLAIN, protocol=1000),
    'big-endian': streamed(PLAIN, little=False),
    'a list of weights that is missing one': streamed(PLAIN, keys=()),
    'a list of weights with one twice': streamed(PLAIN, keys=('0', '0')),
    'a list of weights with another': streamed(PLAIN, keys=('0', '1')),
    'a list of numbers': streamed(PLAIN, keys=(0,)),
    'a list of long names that are equal': _raw(_long_list()),
    'memory with a long name': streamed(
        legacy(checkpoint(weight=tensor(of=memory(key='a' * 10**6)))), keys=('a' * 10**6,)
    ),
    'a view with a long name': streamed(_view(text('a' * 10**6), number(0), number(1))),
    'no weights': streamed(PLAIN, behind=b''),
    'half the weights': streamed(PLAIN, behind=struct.pack('<q', 4) + FLOATS[:8]),
    'another number of elements': streamed(PLAIN, behind=struct.pack('<q', 5) + FLOATS * 2),
    'a huge number of elements': streamed(PLAIN, behind=struct.pack('<q', 2**62) + FLOATS),
    'a negative number of elements': streamed(PLAIN, behind=struct.pack('<q', -4) + FLOATS),
    'memory larger than the file': streamed(
        legacy(checkpoint(weight=tensor(of=memory(count=10**12)))).replace(
            number(10**12) + b'tQ', number(10**12) + b'NtQ'
        )
    ),
    'the source of a class': streamed(
        checkpoint(
            group(text('module'), name('torch.Tensor'), text('a.py'), text('code')) + b'Q', b'N'
        )
    ),
    'a view beyond the memory': streamed(_view(text('v'), number(3), number(2))),
    'a view with a negative start': streamed(_view(text('v'), number(-1), number(2))),
    'a view of text': streamed(_view(text('v'), text('0'), text('1'))),
    'a view with two parts': streamed(_view(text('v'), number(0))),
    'a view as a list': streamed(
        checkpoint(weight=tensor(of=memory('0', 4, 'torch.FloatStorage', 'cpu', b']')))
    ),
    'cut in the middle of the pickle': _raw(stream(PLAIN)[:150]),
    'cut after the magic number': _raw(pickle.dumps(MAGIC, 2)),
    'a plain pickle': _raw(pickle.dumps({'state_dict': [1]})),
    'a pickle of protocol 0': _raw(pickle.dumps({'state_dict': [1]}, 0)),
    'a plain pickle that calls': _raw(b'\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.'),
    'a magic number that is called': _raw(b'\x80\x02cos\ngetcwd\n)R.' + stream(PLAIN)),
    'weights in the magic number': _raw(b'\x80\x02' + legacy(memory()) + b'.'),
    'tar': _tar(('storages', tarfile.REGTYPE), ('pickle', tarfile.REGTYPE)),
    'tar with a pipe': _tar(('storages', tarfile.FIFOTYPE)),
    'tar with a link': _tar(('storages', tarfile.SYMTYPE)),
}
