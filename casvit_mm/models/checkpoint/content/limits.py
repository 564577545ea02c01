"""What a file may ask for; far above what checkpoints need, far below what hurts."""

OPCODES = 1_000_000
"""Steps of one pickle, which also bounds its objects: a file of 5,000 weights with the state of
their optimiser needs half a million, and a step may create a set of 216 bytes."""

PICKLE_BYTES = 256 * 2**20
"""Size of one pickle without the weights: the history of 300,000 iterations is some 60 MiB."""

LARGE_BYTES = 256 * 2**20
"""Memory of all strings, bytes and arrays of one pickle. A character takes up to four bytes, and a
function such as ``bytearray`` copies a large argument as often as a file asks for it."""

LARGE = 256
"""Size in bytes from which an object counts towards :data:`LARGE_BYTES`; smaller ones are bounded
by :data:`OPCODES`."""

INTEGER_BYTES = 255
"""Length of an integer: conversion from and to text takes quadratic time."""

DIGITS = 600
"""Length of a number in text, for the same reason; 255 bytes have 615 digits."""

TEXT_BYTES = 64 * 2**20
"""Length of a string, which takes up to four times as much memory; that of a line, too, which a
string is in the older protocols."""

DEPTH = 100
"""Levels of nesting: code that walks over the content recursively must not overflow the stack."""

UNFOLDED = 8_000_000
"""Size of the content if everything shared were copied: lists that name the one below them twice
double at each level, and a walk over 60 levels would never end. Text counts by 64 bytes."""

UNFOLDED_TEXT = 64
"""Bytes of text or of an array that count as one object in :data:`UNFOLDED`."""

TENSORS = 200_000
"""Number of tensors: each takes about 0.5 KiB even if it is empty."""

DIMENSIONS = 64
"""Dimensions of a tensor; torch's own operations refuse more."""

EXPANDED_BYTES = 64 * 2**20
"""Bytes that tensors may have beyond :data:`SHARING`: an expanded tensor has more elements than
its memory holds, since a stride of 0 repeats them, and is written out as soon as it is copied."""

SHARING = 16
"""How often tensors may refer to the same memory on average: heads share their convolutions
between five to eight levels of a feature pyramid."""

EXTENT = 2**48
"""Size of a dimension times its stride, for tensors without elements, whose memory is no bound."""

ZIP_DIRECTORY_BYTES = 8 * 2**20
"""Size of the directory of a zip archive: that of 12,000 weights is 1.5 MiB."""

ZIP_ENTRIES = 65_536
"""Records of a zip archive: one for each weight."""

DIGEST_LIST_BYTES = 8 * 2**20
"""Size of the list of checksums in an archive: that of 12,000 weights is 1 MiB."""

SAFETENSORS_HEADER_BYTES = 8 * 2**20
"""Size of the header of a ``.safetensors`` file: about 100 bytes for each weight."""

CHUNK = 2**18
"""Bytes read at once: few enough to stay in the processor's cache for the checksum."""

MESSAGE_NAME = 100
"""Characters of a name from the file in a message."""

ODD_KEYS = 8_192
"""Keys of dicts that are tuples, fractions or large numbers: their hashes can be chosen so that
each is compared with all before it."""

SMALL_NUMBER = 2**16
"""Numbers below it are their own places in any dict that is large enough to be slow."""

KEY_LENGTH = 8
"""Elements of a tuple that is a key."""

KEY_TEXT = 4_096
"""Length of a key that is text: two equal ones are compared each time that one is set."""
