"""`casvit check` on datasets from strangers: it ends, and writes only its report."""

import json
import signal
import struct
import sys
import zlib
from pathlib import Path

import pytest
from labelled import image, labelme, shape, text, voc, voc_object

SECONDS = 60
SECRET = 'a-secret-of-this-machine'
TRIANGLE = [[10, 10], [40, 10], [40, 40]]
MARKUP = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&'
LAUGHS = '<!DOCTYPE x [<!ENTITY e0 "ha">{}]>'.format(
    ''.join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
)
ENCODINGS = {'utf-16': 'UTF-16', 'utf-8-sig': 'UTF-8', 'latin-1': 'ISO-8859-1'}


def _coco(root, content):
    image(root / 'train/a.png')
    text(root / 'annotations/instances_train.json', content)


def _usual(**changes):
    content = {
        'images': [{'id': 1, 'file_name': 'a.png', 'width': 96, 'height': 64}],
        'categories': [{'id': 1, 'name': 'cat'}],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 1, 9, 9], 'area': 81}
        ],
    }
    return json.dumps({**content, **changes})


def _voc(markup='', declared='', name='cat', encoding='utf-8'):
    def make(root):
        image(root / 'a.jpg')
        content = voc('a.xml', voc_object(name), declared=declared)
        if declared:
            head, _, rest = content.partition('\n')
            content = f'{head}\n{markup}{rest}'
        else:
            content = markup + content
        text(root / 'a.xml', content, encoding)

    return make


def _external(kind):
    def make(root):
        (root.parent / 'secret.txt').write_text(SECRET)
        where = (root.parent / 'secret.txt').as_uri()
        markup = {
            'entity': f'<!DOCTYPE x [<!ENTITY s SYSTEM "{where}">]>',
            'parameter': f'<!DOCTYPE x [<!ENTITY % p SYSTEM "{where}"> %p;]>',
            'type': f'<!DOCTYPE x SYSTEM "{where}">',
            'address': '<!DOCTYPE x [<!ENTITY s SYSTEM "http://127.0.0.1:9/x">]>',
        }[kind]
        _voc(markup, name='&s;' if kind in ('entity', 'address') else 'cat')(root)

    return make


def _claims(width, height):
    """A PNG of a few bytes that claims a size."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', head)
        + chunk(b'IDAT', zlib.compress(bytes(99)))
        + chunk(b'IEND', b'')
    )


def _large_image(width, height):
    def make(root):
        image(root / 'b.png')
        (root / 'a.png').write_bytes(_claims(width, height))
        for stem in 'ab':
            text(root / f'{stem}.txt', '0 .5 .5 .5 .5\n')
        text(root / 'classes.txt', 'cat')

    return make


def _links(root):
    image(root / 'a.png')
    text(root / 'a.json', labelme('a.png', shape('cat', TRIANGLE)))
    secret = text(root.parent / 'outside/secret.json', f'{{"{SECRET}": 1}}')
    for name, target in (
        *(('up', '..'), ('self', 'self'), ('root', '/'), ('here', '.')),
        *(('b.json', secret), ('b.png', '/dev/zero'), ('c.json', '/proc/self/environ')),
    ):
        (root / name).symlink_to(target)


def _yaml(content):
    def make(root):
        image(root / 'a.png')
        text(root / 'a.txt', '0 .5 .5 .5 .5\n')
        text(root / 'data.yaml', content)

    return make


def _labelled(content):
    def make(root):
        image(root / 'a.png')
        text(root / 'a.json', content)

    return make


def _odd_names(root):
    for name in ('a\n\x1b[31mred.png', '<b>bold.png', 'a\u202egnp.png', '..%2f..%2fetc.png'):
        image(root / name)
        text(root / f'{name[:-4]}.txt', '0 .5 .5 .5 .5\n1 .5 .5 .5 .5\n')
    text(root / 'classes.txt', f'{MARKUP}\ncat\x1b]0;title\x07')


DATASETS = {
    'links': _links,
    'JSON nested 100,000 deep': lambda root: _coco(root, '[' * 100_000),
    'JSON with objects nested 100,000 deep': lambda root: _coco(root, '{"images":' * 100_000),
    'JSON with NaN': lambda root: _coco(root, _usual().replace('81}', 'NaN}')),
    'JSON with an infinite box': lambda root: _coco(
        root, _usual().replace('[1, 1', '[-Infinity, 1')
    ),
    'JSON with huge numbers': lambda root: _coco(
        root, _usual().replace('[1, 1', f'[1e999, {9**99}')
    ),
    'JSON with a million digits': lambda root: _coco(
        root, _usual().replace('81}', '9' * 10**6 + '}')
    ),
    'JSON with a huge size': lambda root: _coco(root, _usual().replace('96', f'{2**62}')),
    'JSON with keys twice': lambda root: _coco(
        root, _usual().replace('{"images"', '{"images": 3, "images"')
    ),
    'JSON with paths that leave the folder': lambda root: _coco(
        root, _usual().replace('a.png', '../../../../etc/passwd')
    ),
    'JSON with markup': lambda root: _coco(root, _usual(categories=[{'id': 1, 'name': MARKUP}])),
    'JSON of a list of numbers': lambda root: _coco(root, '[1, 2, 3]'),
    'LabelMe nested deeply': _labelled('{"shapes": ' + '[' * 50_000),
    'LabelMe with markup': _labelled(labelme('a.png', shape(MARKUP, TRIANGLE))),
    'YAML nested deeply': _yaml('names: ' + '[' * 20_000),
    'YAML with references that multiply': _yaml(
        'a0: &a0 [x, x]\n'
        + ''.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 12))
        + 'names: *a11\n'
    ),
    'YAML that calls': _yaml('names: !!python/object/apply:os.system ["touch ran"]\n'),
    'YAML in itself': _yaml('names: &a [*a]\n'),
    'YAML with a path that leaves the folder': _yaml('names: [cat]\npath: /\ntrain: ../../etc\n'),
    'XML with entities that multiply': _voc(LAUGHS, name='&e9;'),
    **{
        f'XML with an external {kind}': _external(kind)
        for kind in ('entity', 'parameter', 'type', 'address')
    },
    **{
        f'XML in {encoding}': _voc(declared=declared, name='gröse', encoding=encoding)
        for encoding, declared in ENCODINGS.items()
    },
    'XML in an encoding that it is not': _voc(declared='UTF-16'),
    'XML in an unknown encoding': _voc(declared='x-user-defined'),
    'XML in UTF-7': _voc(declared='UTF-7', name='+ADw-b+AD4-'),
    'XML with markup': _voc(name=MARKUP.replace('&', '&amp;').replace('<', '&lt;')),
    'an image that claims 60,000 x 60,000': _large_image(60_000, 60_000),
    'an image that claims 2**31 x 1': _large_image(2**31 - 1, 1),
    'an image of no pixels': _large_image(0, 0),
    'names with control characters and markup': _odd_names,
}


@pytest.fixture
def limited():
    """Ends a check that hangs."""
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)


def _files(root):
    return {str(p): p.lstat().st_mtime_ns for p in root.rglob('*') if not p.is_dir()}


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no such names, links and limits')
@pytest.mark.parametrize('kind', DATASETS)
def test_a_check_ends_with_a_sentence_and_writes_only_its_report(kind, call, tmp_path, limited):
    root = tmp_path / 'data'
    root.mkdir()
    DATASETS[kind](root)
    before = _files(tmp_path)
    answer = call('check', root, '--task', 'detection')
    assert answer.code in (0, 2), answer
    said = answer.out + answer.err
    assert 'Traceback' not in said and SECRET not in said
    assert '\x1b' not in said.replace('\x1b[0m', '') and '\x07' not in said
    written = _files(tmp_path)
    assert all(written.pop(path) == time for path, time in before.items())
    assert all(Path(path).is_relative_to(tmp_path / 'work_dirs') for path in written)
    for page in (tmp_path / 'work_dirs').rglob('*.html'):
        content = page.read_text(encoding='utf-8')
        assert '<script>alert' not in content and '<img src=x' not in content
        assert SECRET not in content and '<b>bold' not in content
