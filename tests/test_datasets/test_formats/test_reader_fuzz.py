"""The readers never end in a traceback, whatever the files hold."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled import SIZE, image, labelme, shape, voc, voc_object

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import KINDS

FAST, LONG = 60, 3000
numbers = st.one_of(
    st.floats(),
    st.integers(-(10**400), 10**400).map(str),
    st.sampled_from(['nan', 'inf', '-inf', '1e308', '-1e308', '', ' ', '1_0', '٣', '0x10', '\x00']),
    st.floats(-2, 2),
)
names = st.text(max_size=6) | st.sampled_from(['cat', 'cat ', '\ufeffcat', '__ignore__', '{{', ''])
paths = st.sampled_from(
    ['a.png', '../a.png', '/etc/passwd', 'C:\\a.png', '..', '', '\x00', 'b/../a.png', '\ud800.png']
) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    return image(tmp_path_factory.mktemp('image') / 'a.png')


def check(files, picture):
    """Writes files next to an image and reads them: a dataset or a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'data'
        root.mkdir()
        for name in ('a.png', 'b.png', 'a.b.jpg'):
            shutil.copyfile(picture, root / name)
        for name, content in files.items():
            data = (
                content if isinstance(content, bytes) else content.encode('utf-8', 'surrogatepass')
            )
            (root / name).write_bytes(data)
        try:
            dataset = read_dataset(root, 'detection')
        except DatasetError as error:
            assert str(error).strip()
            return None
        audit = audit_objects(dataset, masks=True, read_images=False)
        for issue in audit.issues.issues:
            assert issue.kind in KINDS and str(issue)
        for split in dataset.splits.values():
            # What a run reads is valid JSON with finite numbers.
            json.dumps(split.content['annotations'], allow_nan=False)
            for category in split.content['categories']:
                assert category['name'] == category['name'].strip().strip('\ufeff')
            assert all(os.fsencode(r['file_name']) for r in split.content['images'])
        return dataset


def polygon(coordinates):
    tags = (f'{"xy"[index % 2]}{index // 2}' for index in range(len(coordinates)))
    pairs = zip(tags, coordinates, strict=True)
    return f'<polygon>{"".join(f"<{tag}>{value}</{tag}>" for tag, value in pairs)}</polygon>'


def examples(strategy, number):
    def decorate(test):
        checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        quiet = settings(max_examples=number, suppress_health_check=checks, deadline=None)
        return quiet(given(strategy)(test))

    return decorate


label_lines = st.lists(
    st.tuples(numbers, st.lists(numbers, max_size=10), st.sampled_from(' \t,;\x00\u3000')).map(
        lambda line: line[2].join(str(value) for value in (line[0], *line[1]))
    ),
    max_size=6,
).map('\n'.join)
descriptions = st.one_of(
    st.text(max_size=60),
    st.fixed_dictionaries(
        {},
        optional=dict(
            names=st.lists(names, max_size=4) | st.dictionaries(names, names, max_size=3) | values,
            train=paths | values,
            val=st.lists(paths, max_size=2),
            path=paths | values,
            nc=values,
            kpt_shape=values,
        ),
    ).map(json.dumps),
)
yolo_files = st.fixed_dictionaries(
    {'a.txt': label_lines | st.binary(max_size=80)},
    optional={
        'b.txt': label_lines,
        'a.b.txt': label_lines,
        'data.yaml': descriptions,
        'classes.txt': st.lists(names, max_size=4).map('\n'.join) | st.binary(max_size=40),
        'obj.data': st.text(max_size=40) | paths.map('train = {}'.format),
        'train.txt': st.lists(paths, max_size=4).map('\n'.join),
    },
)
points = st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=5) | values
shapes = st.builds(
    shape,
    names | values,
    points,
    st.sampled_from(['polygon', 'rectangle', 'circle', 'mask', 'rotation', 'line', None]) | values,
    group_id=values,
    mask=st.text(max_size=8) | values,
)
labelme_files = st.fixed_dictionaries(
    {
        'a.json': st.one_of(
            st.builds(
                lambda path, drawn, width, encoding: labelme(path, *drawn, imageWidth=width).encode(
                    encoding, 'replace'
                ),
                paths | values,
                st.lists(shapes | values, max_size=4),
                values | st.just(SIZE[0]),
                st.sampled_from(['utf-8', 'utf-16', 'utf-8-sig', 'gbk', 'utf-16-be']),
            ),
            st.builds(lambda v: json.dumps(dict(imagePath='a.png', shapes=v)), values),
        )
    },
    optional={'b.json': st.binary(max_size=60) | values.map(json.dumps)},
)
markup = st.text(max_size=12) | st.sampled_from(
    ['<', '&', '&a;', ']]>', '<![CDATA[', '<!--', '\x00']
)
voc_files = st.fixed_dictionaries(
    {
        'a.xml': st.builds(
            lambda drawn, size, name, declared, encoding: voc(
                'a.xml', *drawn, size=size, name=name, declared=declared
            ).encode(encoding, 'replace'),
            st.lists(
                st.builds(
                    voc_object,
                    names | markup,
                    st.tuples(numbers, numbers, numbers, numbers),
                    markup | st.lists(numbers, max_size=8).map(polygon),
                )
                | markup,
                max_size=4,
            ),
            st.tuples(numbers, numbers),
            paths | markup,
            st.sampled_from(['', 'utf-8', 'GBK', 'utf-16', 'punycode', 'idna', 'x', 'zlib']),
            st.sampled_from(['utf-8', 'utf-16', 'utf-8-sig', 'gbk', 'latin-1']),
        )
    },
    optional={'b.xml': st.binary(max_size=60) | markup.map('<annotation>{}'.format)},
)


@examples(yolo_files, FAST)
def test_any_yolo_files_give_a_dataset_or_a_sentence(picture, files):
    check(files, picture)


@examples(labelme_files, FAST)
def test_any_labelme_files_give_a_dataset_or_a_sentence(picture, files):
    check(files, picture)


@examples(voc_files, FAST)
def test_any_voc_files_give_a_dataset_or_a_sentence(picture, files):
    check(files, picture)


@pytest.mark.long
@examples(yolo_files, LONG)
def test_very_many_yolo_files_give_a_dataset_or_a_sentence(picture, files):
    check(files, picture)


@pytest.mark.long
@examples(labelme_files, LONG)
def test_very_many_labelme_files_give_a_dataset_or_a_sentence(picture, files):
    check(files, picture)


@pytest.mark.long
@examples(voc_files, LONG)
def test_very_many_voc_files_give_a_dataset_or_a_sentence(picture, files):
    check(files, picture)


def test_the_inputs_of_these_tests_reach_the_readers(picture):
    """One example of each strategy that is a dataset, so that the tests above are no formality."""
    files = {'a.txt': '0 .5 .5 .1 .1\n', 'classes.txt': 'cat'}
    assert check(files, picture).format == 'YOLO'
    content = labelme('a.png', shape('cat', [[1, 2], [9, 2], [9, 9]]))
    assert check({'a.json': content}, picture).format == 'LabelMe'
    assert check({'a.xml': voc('a.xml', voc_object('cat'))}, picture).format == 'Pascal VOC'
