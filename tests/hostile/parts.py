"""Parts of hostile files: the steps of pickles, and the two containers of torch."""

import pickle
import struct
import zipfile
from pathlib import Path

MODULE = 'hostile_canary'
"""A module that must not be imported."""
MAGIC = 0x1950A86A20F9469CFC6C
FLOATS = struct.pack('<4f', 1, 2, 3, 4)


def mark(path):
    """The file that the code in a hostile file creates."""
    return Path(f'{path}.ran')


def name(full):
    """GLOBAL."""
    module, _, attribute = full.rpartition('.')
    return f'c{module}\n{attribute}\n'.encode()


def text(value):
    """BINUNICODE."""
    data = value.encode('utf-8', 'surrogatepass')
    return b'X' + struct.pack('<I', len(data)) + data


def data(value):
    """BINBYTES."""
    return b'B' + struct.pack('<I', len(value)) + value


def number(value):
    """LONG1."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
    return b'\x8a' + bytes([len(raw)]) + raw


def fraction(value):
    """BINFLOAT."""
    return b'G' + struct.pack('>d', value)


def group(*items):
    """TUPLE."""
    return b'(' + b''.join(items) + b't'


def numbers(*values):
    """A tuple of integers."""
    return group(*map(number, values))


def call(function, *arguments):
    """REDUCE."""
    return name(function) + group(*arguments) + b'R'


def memory(key='0', count=4, storage='torch.FloatStorage', device='cpu', *more):
    """BINPERSID of a memory."""
    return (
        group(text('storage'), name(storage), text(key), text(device), number(count), *more) + b'Q'
    )


def tensor(size=(2, 2), stride=(2, 1), offset=0, of=None, more=None):
    """A tensor over a memory."""
    more = more or b'\x89' + call('collections.OrderedDict')
    return call(
        'torch._utils._rebuild_tensor_v2',
        of or memory(),
        number(offset),
        size if isinstance(size, bytes) else numbers(*size),
        stride if isinstance(stride, bytes) else numbers(*stride),
        more,
    )


def checkpoint(odd=b'N', weight=None):
    """A pickle of a checkpoint with one weight, and something odd in its meta."""
    weight = tensor() if weight is None else weight
    state = b'}' + text('w') + weight + b's'
    meta = b'}' + text('odd') + odd + b's'
    return b'\x80\x02}(' + text('state_dict') + state + text('meta') + meta + b'u.'


def write_zip(path, pickled, memories=None, *, order=b'little', extra=(), compression=0):
    """Writes the container of torch 1.6 and later."""
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('archive/data.pkl', pickled)
        if order is not None:
            archive.writestr('archive/byteorder', order)
        for key, content in ({'0': FLOATS} if memories is None else memories).items():
            archive.writestr(f'archive/data/{key}', content)
        archive.writestr('archive/version', b'3\n')
        for key, content in extra:
            archive.writestr(key, content)


def zipped(pickled, **options):
    """A maker of a file in the container of torch 1.6 and later."""
    return lambda path: write_zip(path, pickled, **options)


def stream(pickled, *, magic=MAGIC, protocol=1001, little=True, keys=('0',), behind=None):
    """A file in the container of torch before 1.6."""
    system = {'protocol_version': protocol, 'little_endian': little, 'type_sizes': {}}
    head = b''.join(pickle.dumps(each, 2) for each in (magic, protocol, system))
    tail = struct.pack('<q', 4) + FLOATS if behind is None else behind
    return head + pickled + pickle.dumps(list(keys), 2) + tail


def streamed(pickled, **options):
    """A maker of a file in the container of torch before 1.6."""
    return lambda path: Path(path).write_bytes(stream(pickled, **options))


def legacy(pickled):
    """The pickle of a checkpoint as that container has it: a memory has one part more."""
    return pickled.replace(number(4) + b'tQ', number(4) + b'NtQ')
