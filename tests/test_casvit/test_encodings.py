import codecs

import pytest

from casvit.encodings import decode


@pytest.mark.parametrize(
    ('content', 'text', 'encoding'),
    [
        ('Büro\n猫\n'.encode(), 'Büro\n猫\n', ''),
        (b'cat\r\ndog\rcow', 'cat\ndog\ncow', ''),
        (codecs.BOM_UTF8 + b'cat', 'cat', 'UTF-8 with a byte order mark'),
        ('cat\n犬'.encode('utf-16'), 'cat\n犬', 'UTF-16'),
        (codecs.BOM_UTF16_BE + 'cat'.encode('utf-16-be'), 'cat', 'UTF-16'),
        ('cat\ndog'.encode('utf-16-le'), 'cat\ndog', 'UTF-16'),
        ('cat\ndog'.encode('utf-16-be'), 'cat\ndog', 'UTF-16'),
        ('cat'.encode('utf-32'), 'cat', 'UTF-32'),
        ('猫\n狗\n'.encode('gbk'), '猫\n狗\n', 'GBK'),
        ('Käfer\ncafé\n'.encode('cp1252'), 'Käfer\ncafé\n', 'Windows-1252'),
        (b'', '', ''),
    ],
)
def test_text_is_decoded_and_its_encoding_is_named(content, text, encoding):
    assert decode(content) == (text, encoding)


@pytest.mark.parametrize(
    'content', [b'\x89PNG\r\n\x1a\n\0\0\0', codecs.BOM_UTF16_LE + b'\x00', b'\x81\x8d']
)
def test_what_is_not_text_is_named(content):
    with pytest.raises(ValueError, match='text'):
        decode(content)
