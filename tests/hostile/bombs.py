"""Small files that ask for much time or memory."""

import struct

from hostile.parts import (
    call,
    checkpoint,
    data,
    fraction,
    group,
    legacy,
    name,
    number,
    streamed,
    text,
    zipped,
)

PRIME = 2**61 - 1
"""Integers that differ by it have the same hash."""


EQUAL = b''.join(text('a' * 10**6) + b'q' + bytes([place]) + b'0' for place in range(2))
"""Two texts that are equal, remembered."""
EITHER = b'h\x00Nh\x01N'


def _doubled(start, step, times=60):
    """A value that holds the one before twice, again and again."""
    return start + b''.join(b'q' + bytes([i]) + step(b'h' + bytes([i])) for i in range(times))


def _lists(get):
    return b'0](' + get + get + b'e'


def _tuples(get):
    return get + b'\x86'


def _dicts(get):
    return b'0}(' + text('a') + get + text('b') + get + b'u'


def _colliding_tuples():
    # The hash of a tuple with one element is a function of the hash of the element alone.
    return b''.join(number(i * PRIME) + b'\x85N' for i in range(100_000))


BOMBS = {
    'a training state that doubles 20 times': zipped(
        b'\x80\x02}(' + text('message_hub') + _doubled(b']', _lists, 20) + text('w') + b'Nu.'
    ),
    'lists nested 100,000 deep': zipped(checkpoint(b']' * 100_000 + b'a' * 99_999)),
    'tuples nested 100,000 deep': zipped(checkpoint(b')' + b'\x85' * 100_000)),
    'dicts nested 100,000 deep': zipped(
        checkpoint((b'}' + text('a')) * 100_000 + b'N' + b's' * 100_000)
    ),
    'states nested 1,000 deep': zipped(
        checkpoint(
            (name('argparse.Namespace') + b')\x81}' + text('a')) * 1_000 + b'N' + b'sb' * 1_000
        )
    ),
    'lists nested 101 deep': zipped(checkpoint(b']' * 101 + b'a' * 100)),
    'lists that double 60 times': zipped(checkpoint(_doubled(b']', _lists))),
    'lists that double 60 times in a legacy file': streamed(
        legacy(checkpoint(_doubled(b']', _lists)))
    ),
    'tuples that double 60 times': zipped(checkpoint(_doubled(b')', _tuples))),
    'dicts that double 60 times': zipped(checkpoint(_doubled(b'}', _dicts))),
    'a key of tuples that double 60 times': zipped(
        checkpoint(b'}' + _doubled(b')', _tuples) + b'Ns')
    ),
    'a set of tuples that double 60 times': zipped(
        checkpoint(b'\x8f(' + _doubled(b')', _tuples) + b'\x90')
    ),
    'a megabyte of text 900,000 times': zipped(
        checkpoint(text('a' * 10**6) + b'q\x000](' + b'h\x00' * 900_000 + b'e')
    ),
    'keys that are integers of the same hash': zipped(
        checkpoint(b'}(' + b''.join(number(i * PRIME) + b'N' for i in range(100_000)) + b'u')
    ),
    'keys that are tuples of the same hash': zipped(checkpoint(b'}(' + _colliding_tuples() + b'u')),
    'a set of integers of the same hash': zipped(
        checkpoint(b'\x8f(' + b''.join(number(i * PRIME) for i in range(100_000)) + b'\x90')
    ),
    'numbers of the memo of the same hash': zipped(
        checkpoint(b'N' + b''.join(b'p%d\n' % (i * PRIME) for i in range(60_000)))
    ),
    'a number of the memo beyond all': zipped(checkpoint(b'Nr' + b'\xff' * 4)),
    'keys that are large numbers': zipped(
        checkpoint(b'}(' + b''.join(number(i << 40) + b'N' for i in range(10_000)) + b'u')
    ),
    'keys that are negative numbers': zipped(
        checkpoint(b'}(' + b''.join(number(-i) + b'N' for i in range(10_000)) + b'u')
    ),
    'keys that are fractions': zipped(
        checkpoint(b'}(' + b''.join(fraction(i * 2.0**40) + b'N' for i in range(10_000)) + b'u')
    ),
    'a set of NaN': zipped(checkpoint(b'\x8f(' + fraction(float('nan')) * 10_000 + b'\x90')),
    'keys of a megabyte that are equal': zipped(checkpoint(EQUAL + b'}(' + EITHER * 10_000 + b'u')),
    'keys of a megabyte in tuples': zipped(
        checkpoint(EQUAL + b'}(' + (b'(' + EITHER * 4 + b'tN') * 4_000 + b'u')
    ),
    'complex keys': zipped(
        checkpoint(b'}' + call('builtins.complex', b'G' + bytes(8), b'G' + bytes(8)) + b'Ns')
    ),
    'an integer of a megabyte': zipped(
        checkpoint(b'\x8b' + struct.pack('<I', 10**6) + b'\x01' * 10**6)
    ),
    'an integer longer than the file': zipped(checkpoint(b'\x8b\xff\xff\xff\x7f')),
    'an integer of a million digits': zipped(checkpoint(b'I' + b'9' * 10**6 + b'\n')),
    'a long integer of a million digits': zipped(checkpoint(b'L' + b'9' * 10**6 + b'L\n')),
    'an integer of underscores': zipped(checkpoint(b'I1_0\n')),
    'an integer of Arabic digits': zipped(checkpoint(b'I\xd9\xa1\n')),
    'a float of a million digits': zipped(checkpoint(b'F' + b'9' * 10**6 + b'\n')),
    'a float that is none': zipped(checkpoint(b'Fabc\n')),
    'text longer than the file': zipped(checkpoint(b'X\xff\xff\xff\x7f')),
    'text of 2**63 bytes': zipped(checkpoint(b'\x8d' + b'\xff' * 7 + b'\x7f')),
    'bytes of 2**64 bytes': zipped(checkpoint(b'\x8e' + b'\xff' * 8)),
    'a bytearray of 2**64 bytes': zipped(checkpoint(b'\x96' + b'\xff' * 8)),
    'a line without an end': zipped(checkpoint(b'S' + b'"' * 1_000)),
    'a string without quotes': zipped(checkpoint(b'Sabc\n')),
    'a string with half an escape': zipped(checkpoint(b"S'\\x'\n")),
    'a megabyte copied 100,000 times': zipped(
        checkpoint(
            data(bytes(10**6))
            + b'q\x000'
            + name('builtins.bytearray')
            + b'q\x010]('
            + (b'h\x01(h\x00tR') * 100_000
            + b'e'
        )
    ),
    'a megabyte encoded 100,000 times': zipped(
        checkpoint(
            text('a' * 10**6)
            + b'q\x000'
            + name('_codecs.encode')
            + b'q\x010]('
            + (b'h\x01(h\x00tR') * 100_000
            + b'e'
        )
    ),
    'a set of 100,000 elements made 100,000 times': zipped(
        checkpoint(
            b']('
            + b''.join(number(i) for i in range(100_000))
            + b'eq\x000'
            + name('builtins.set')
            + b'q\x010]('
            + (b'h\x01(h\x00tR') * 100_000
            + b'e'
        )
    ),
    'a dict of 50,000 items made 100,000 times': zipped(
        checkpoint(
            b']('
            + b''.join(b'](' + number(i) + b'Ne' for i in range(50_000))
            + b'eq\x000'
            + name('collections.OrderedDict')
            + b'q\x010]('
            + (b'h\x01(h\x00tR') * 100_000
            + b'e'
        )
    ),
    'a state of 50,000 attributes given 100,000 times': zipped(
        checkpoint(
            b'}('
            + b''.join(text(f'a{i}') + b'N' for i in range(50_000))
            + b'uq\x000'
            + name('argparse.Namespace')
            + b')\x81'
            + b'h\x00b' * 100_000
        )
    ),
    'an array of a megabyte 100,000 times': zipped(
        checkpoint(
            data(bytes(10**6))
            + b'q\x000'
            + call('numpy.dtype', text('i1'))
            + b'q\x010]('
            + (
                b'cnumpy.core.numeric\n_frombuffer\n(h\x00h\x01(J\x40\x42\x0f\x00t'
                + text('C')
                + b'tR'
            )
            * 10_000
            + b'e'
        )
    ),
    'a million sets': zipped(checkpoint(b'](' + b'\x8f' * 1_100_000 + b'e')),
    'a million marks': zipped(checkpoint(b'(' * 1_100_000)),
    'a million frames': zipped(checkpoint((b'\x95' + bytes(8)) * 1_100_000 + b'N')),
    'a list in itself': zipped(checkpoint(b']q\x00h\x00a')),
    'a tuple in itself': zipped(checkpoint(b']q\x00h\x00\x85q\x01a0h\x01')),
    'a dict in itself': zipped(checkpoint(b'}q\x00' + text('a') + b'h\x00s')),
    'a state in itself': zipped(
        checkpoint(name('argparse.Namespace') + b')\x81q\x00}' + text('a') + b'h\x00sb')
    ),
    'no mark': zipped(checkpoint(b't')),
    'an empty stack': zipped(b'\x80\x020000.'),
    'nothing at the end': zipped(b'\x80\x02.'),
    'no end': zipped(checkpoint()[:-1]),
    'a value that is not remembered': zipped(checkpoint(b'h\x09')),
    'a huge number of a memory': zipped(checkpoint(b'g99999999999999999999\n')),
    'remembers nothing': zipped(b'\x80\x02q\x00.'),
    'appends to a tuple': zipped(checkpoint(b')Na')),
    'sets an item of a list': zipped(checkpoint(b']NNs')),
    'an odd number of items': zipped(checkpoint(b'}(N' + b'u')),
    'a key that is a list': zipped(checkpoint(b'}]Ns')),
    'a key that is a dict': zipped(checkpoint(b'}}Ns')),
    'a slice of text': zipped(checkpoint(call('builtins.slice', text('a')))),
    'a size of text': zipped(checkpoint(call('torch.Size', text('ab')))),
    'an odd device': zipped(checkpoint(call('torch.device', text('cuda:-1; rm')))),
    'a Counter of numbers': zipped(checkpoint(call('collections.Counter', b'K\x05'))),
    'an OrderedDict of triples': zipped(
        checkpoint(call('collections.OrderedDict', b'](' + group(b'N', b'N', b'N') + b'e'))
    ),
}
