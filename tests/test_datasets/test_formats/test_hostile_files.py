"""Files that are huge, endless, nested or no files at all: a sentence or the right answer."""

import json
import os
import socket
import sys
import time
import tracemalloc

import pytest
from labelled import contents, image, labelme, shape, text, voc, voc_object

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.folders import folders

TRIANGLE = [[10, 10], [40, 10], [40, 40]]
MIB = 2**20


def yolo(root, name='cat', label='0 .5 .5 .5 .5\n'):
    image(root / 'a.png')
    text(root / 'a.txt', label)
    text(root / 'classes.txt', name)


def read_in_time(root, seconds):
    """Reads a dataset within a limit of processor time."""
    start = time.process_time()
    dataset = read_dataset(root, 'detection')
    assert time.process_time() - start < seconds
    return dataset


def read_in_memory(root, mib):
    """Reads a dataset within a limit of memory."""
    # The memory of the imports does not count.
    with pytest.raises(DatasetError):
        read_dataset(root / 'nowhere')
    tracemalloc.start()
    try:
        dataset = read_dataset(root, 'detection')
        assert tracemalloc.get_traced_memory()[1] < mib * MIB
    finally:
        tracemalloc.stop()
    return dataset


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no such files in folders')
def test_what_is_not_a_regular_file_is_never_opened(tmp_path):
    yolo(tmp_path)
    for name in ('b.png', 'b.txt', 'b.xml', 'b.json', 'data.yaml', 'obj.names', 'train.txt'):
        os.mkfifo(tmp_path / name)
    (tmp_path / 'c.xml').symlink_to('/dev/zero')
    (tmp_path / 'c.json').symlink_to('/dev/zero')
    (tmp_path / 'gone.txt').symlink_to(tmp_path / 'nowhere')
    with socket.socket(socket.AF_UNIX) as endpoint:
        # The path of a socket may not be longer than about a hundred characters.
        here = os.open(tmp_path, os.O_RDONLY)
        endpoint.bind(f'/proc/self/fd/{here}/s.txt')
        assert contents(tmp_path)[1:] == ({'all': (1, {'cat': 1})}, [])
        os.close(here)


@pytest.mark.skipif(sys.platform == 'win32', reason='links need rights on Windows')
def test_links_are_followed_but_never_in_circles(tmp_path):
    root = tmp_path / 'data'
    yolo(tmp_path / 'elsewhere')
    root.mkdir()
    (root / 'train').symlink_to(tmp_path / 'elsewhere')
    (root / 'val').symlink_to(tmp_path / 'elsewhere')
    for name, target in (('up', '..'), ('self', 'self'), ('root', '/'), ('here', '.')):
        (root / name).symlink_to(target)
    assert [f.path.name for f in folders(root)] == ['data', 'train', 'val']
    assert contents(root)[1] == {'train': (1, {'cat': 1}), 'val': (1, {'cat': 1})}


@pytest.mark.skipif(sys.platform == 'win32', reason='links need rights on Windows')
def test_links_that_multiply_are_bounded(tmp_path):
    for level in range(20):
        (tmp_path / f'{level}').mkdir()
        for name in ('x', 'y'):
            (tmp_path / f'{level}/{name}').symlink_to(f'../{level + 1}')
    assert len(list(folders(tmp_path))) < 200


def test_hidden_files_and_those_of_systems_are_no_part_of_a_dataset(tmp_path):
    yolo(tmp_path)
    for name in (
        '.cache/b.png',
        '__MACOSX/._a.png',
        '@eaDir/a.png',
        '.b.png',
        '$RECYCLE.BIN/c.png',
    ):
        image(tmp_path / name)
    assert contents(tmp_path)[1] == {'all': (1, {'cat': 1})}


@pytest.mark.skipif(os.name == 'nt' or os.geteuid() == 0, reason='root may read everything')
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    yolo(tmp_path)
    (tmp_path / 'private').mkdir(mode=0)
    with pytest.raises(DatasetError, match='private cannot be read: Permission denied'):
        read_dataset(tmp_path)


@pytest.mark.parametrize('name', [b'a\xff', b'caf\xe9', 'größe 🐈'.encode(), b"it's; rm -rf $x"])
@pytest.mark.skipif(sys.platform in ('win32', 'darwin'), reason='names there are Unicode')
def test_file_names_in_any_bytes_are_read(tmp_path, name):
    yolo(tmp_path)
    for suffix in ('.png', '.txt'):
        (tmp_path / f'a{suffix}').rename(tmp_path / (os.fsdecode(name) + suffix))
    assert contents(tmp_path)[1:] == ({'all': (1, {'cat': 1})}, [])


def test_polygons_of_12_megapixels_take_no_time(tmp_path):
    rng = __import__('random').Random(0)
    for stem in 'abc':
        image(tmp_path / f'yolo/{stem}.jpg', (4000, 3000))
        points = [[rng.random() for _ in range(120)] for _ in range(60)]
        lines = ['0 ' + ' '.join(map(str, values)) for values in points]
        text(tmp_path / f'yolo/{stem}.txt', '\n'.join(lines))
        corners = [
            [[4000 * x, 3000 * y] for x, y in zip(p[::2], p[1::2], strict=True)] for p in points
        ]
        shapes = [shape('cat', polygon) for polygon in corners]
        for folder in ('voc', 'labelme'):
            (tmp_path / folder).mkdir(exist_ok=True)
            os.link(tmp_path / f'yolo/{stem}.jpg', tmp_path / f'{folder}/{stem}.jpg')
        content = labelme(f'{stem}.jpg', *shapes, size=(4000, 3000))
        text(tmp_path / f'labelme/{stem}.json', content)
        polygons = [
            '<polygon>'
            + ''.join(f'<x{n}>{x}</x{n}><y{n}>{y}</y{n}>' for n, (x, y) in enumerate(polygon))
            + '</polygon>'
            for polygon in corners
        ]
        objects = [voc_object('cat', (1, 1, 3999, 2999), polygon) for polygon in polygons]
        text(tmp_path / f'voc/{stem}.xml', voc(f'{stem}.xml', *objects, size=(4000, 3000)))
    text(tmp_path / 'yolo/classes.txt', 'cat')
    for name in ('yolo', 'voc', 'labelme'):
        start = time.process_time()
        dataset = read_dataset(tmp_path / name, 'instance')
        assert time.process_time() - start < 1
        assert len(dataset.splits['all'].content['annotations']) == 180


def test_a_hundred_thousand_lines_and_classes_are_read(tmp_path):
    number = 10**5
    yolo(tmp_path, '\n'.join(f'c{n}' for n in range(number)))
    text(tmp_path / 'a.txt', ''.join(f'{n} .5 .5 .5 .5\n' for n in range(number)))
    dataset = read_in_time(tmp_path, 20)
    assert len(dataset.splits['all'].content['categories']) == number
    assert len(dataset.splits['all'].content['annotations']) == number


def test_very_many_classes_that_annotations_introduce_are_read(tmp_path):
    number = 20_000
    image(tmp_path / 'a.png')
    shapes = [shape(f'c{n}', [[1, 2], [30, 40]], 'rectangle') for n in range(number)]
    text(tmp_path / 'a.json', labelme('a.png', *shapes))
    dataset = read_in_time(tmp_path, 15)
    assert len(dataset.splits['all'].content['categories']) == number


def test_a_file_of_other_lines_gives_a_bounded_number_of_issues(tmp_path):
    yolo(tmp_path, label='0 .5 .5 .5 .5\n' + '1 2 x y z\n' * 10**5)
    dataset = read_in_time(tmp_path, 10)
    assert len(dataset.issues.issues) == 1001
    assert 'more than 1,000 lines' in dataset.issues.issues[-1].detail


@pytest.mark.parametrize('suffix', ['txt', 'json', 'xml'])
def test_a_file_that_is_far_too_large_is_not_read(tmp_path, suffix):
    for stem in 'ab':
        image(tmp_path / f'{stem}.png')
    first = {
        'txt': '0 .5 .5 .5 .5\n',
        'json': labelme('a.png', shape('cat', TRIANGLE)),
        'xml': voc('a.xml', voc_object('cat')),
    }[suffix]
    text(tmp_path / f'a.{suffix}', first)
    # Sparse: it takes no space on disk.
    with text(tmp_path / f'b.{suffix}', first).open('r+b') as file:
        file.truncate(20 * 2**30)
    dataset = read_in_memory(tmp_path, 50)
    (issue,) = dataset.issues.issues
    assert issue.file == str(tmp_path / f'b.{suffix}') and 'too large' in issue.detail
    assert len(dataset.splits['all'].content['annotations']) == 1


def test_a_labelme_file_with_a_copy_of_a_large_image_is_read(tmp_path):
    image(tmp_path / 'a.png')
    content = json.loads(labelme('a.png', shape('cat', TRIANGLE)))
    text(tmp_path / 'a.json', json.dumps(content | dict(imageData='A' * (70 * MIB))))
    dataset = read_in_memory(tmp_path, 500)
    assert len(dataset.splits['all'].content['annotations']) == 1


def test_nested_xml_takes_bounded_memory(tmp_path):
    image(tmp_path / 'a.png')
    text(tmp_path / 'a.xml', f'<annotation>{"<a>" * 10**5}{"</a>" * 10**5}</annotation>')
    assert read_in_memory(tmp_path, 200).splits['all'].content['annotations'] == []


@pytest.mark.parametrize('field', ['label', 'points', 'group_id', 'shape_type', 'mask'])
@pytest.mark.parametrize('depth', [100, 700, 900, 980])
def test_values_that_are_nested_deeply_are_never_written_out(tmp_path, field, depth):
    image(tmp_path / 'a.png')
    nested = '[' * depth + ']' * depth
    content = labelme('a.png', shape('cat', TRIANGLE), shape('cat', TRIANGLE) | {field: 7777})
    text(tmp_path / 'a.json', content.replace('7777', nested))
    dataset = read_in_time(tmp_path, 3)
    assert all(len(issue.detail) < 200 for issue in dataset.issues.issues)


def test_references_that_multiply_are_never_written_out(tmp_path):
    yolo(tmp_path)
    levels = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for n in range(1, 12):
        levels.append(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]')
    text(tmp_path / 'data.yaml', '\n'.join([*levels, 'names: [*a11]', 'train: *a11', '']))
    start = time.process_time()
    with pytest.raises(DatasetError, match=r'Class 0 .* is not a name: a list'):
        read_dataset(tmp_path)
    assert time.process_time() - start < 3


def test_a_number_of_a_million_digits_takes_no_time(tmp_path):
    image(tmp_path / 'a.png')
    digits = '9' * 10**6
    content = labelme('a.png', shape('cat', [[1, 2], [3, 7777], [5, 6]]))
    text(tmp_path / 'a.json', content.replace('7777', digits))
    (issue,) = read_in_time(tmp_path, 3).issues.issues
    assert issue.record == 'shapes[0]' and len(issue.detail) < 200
