"""The steps of a pickle that give a number, a string or bytes."""

import codecs
import re
import struct
from collections.abc import Callable

from casvit_mm.models.checkpoint.content.limits import DIGITS, INTEGER_BYTES, TEXT_BYTES
from casvit_mm.models.checkpoint.content.pickles.source import Source
from casvit_mm.models.checkpoint.content.problems import DamagedError, TooLargeError

Literal = None | bool | int | float | str | bytes | bytearray
DECIMAL = re.compile(rb'[+-]?[0-9]+')
FLOAT = re.compile(rb'[+-]?([0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|inf|nan)', re.IGNORECASE)
QUOTES = (b'"', b"'")


def decimal(text: bytes) -> int:
    """An integer in decimal digits."""
    if len(text) > DIGITS:
        raise TooLargeError(f'it holds a number of {len(text):,} digits')
    if not DECIMAL.fullmatch(text):
        raise DamagedError('it holds a number that is none')
    return int(text)


def _int_line(source: Source) -> int | bool:
    text = source.line()
    # Protocols 0 and 1 have no other way to write a bool.
    if text in (b'00', b'01'):
        return text == b'01'
    return decimal(text)


def _long_line(source: Source) -> int:
    return decimal(source.line().removesuffix(b'L'))


def _float_line(source: Source) -> float:
    text = source.line()
    if len(text) > DIGITS or not FLOAT.fullmatch(text):
        raise DamagedError('it holds a number that is none')
    return float(text)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, 'little', signed=True)


def _long4(source: Source) -> int:
    count = source.number(4)
    if count > INTEGER_BYTES:
        raise TooLargeError(f'it holds an integer of {count:,} bytes')
    return _integer(source.take(count))


def _text(source: Source, count: int) -> str:
    if count > TEXT_BYTES:
        raise TooLargeError(f'it holds a text of {count:,} bytes')
    return _decoded(source.take(count))


def _decoded(data: bytes) -> str:
    # Python writes a path that is no valid text with surrogates, which cannot be printed. The other
    # ways to replace them take a microsecond for each.
    return data.decode('utf-8', 'replace')


def _text_line(source: Source) -> str:
    return _decoded(source.line().decode('raw-unicode-escape').encode('utf-8', 'surrogatepass'))


def _old_text(data: bytes) -> str | bytes:
    """A string of Python 2, which may be text or bytes."""
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        return data


def _quoted_line(source: Source) -> str | bytes:
    text = source.line()
    if len(text) < 2 or text[:1] not in QUOTES or text[:1] != text[-1:]:
        raise DamagedError('it holds a string without quotes')
    return _old_text(codecs.escape_decode(text[1:-1])[0])


LITERALS: dict[bytes, Callable[[Source], Literal]] = {
    b'N': lambda _: None,
    b'\x88': lambda _: True,
    b'\x89': lambda _: False,
    b'I': _int_line,
    b'L': _long_line,
    b'F': _float_line,
    b'J': lambda source: _integer(source.take(4)),
    b'K': lambda source: source.take(1)[0],
    b'M': lambda source: source.number(2),
    b'G': lambda source: struct.unpack('>d', source.take(8))[0],
    b'\x8a': lambda source: _integer(source.take(source.number(1))),
    b'\x8b': _long4,
    b'V': _text_line,
    b'X': lambda source: _text(source, source.number(4)),
    b'\x8c': lambda source: _text(source, source.number(1)),
    b'\x8d': lambda source: _text(source, source.number(8)),
    b'S': _quoted_line,
    b'T': lambda source: _old_text(source.take(source.number(4))),
    b'U': lambda source: _old_text(source.take(source.number(1))),
    b'B': lambda source: source.take(source.number(4)),
    b'C': lambda source: source.take(source.number(1)),
    b'\x8e': lambda source: source.take(source.number(8)),
    b'\x96': lambda source: bytearray(source.take(source.number(8))),
}
"""How to read the value of each such step, by its opcode."""
