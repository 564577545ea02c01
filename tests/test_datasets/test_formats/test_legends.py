"""Names, colours and values of classes, in the files that tools write."""

import numpy as np
import pytest
from PIL import Image
from semantic_data import labels_of, write_pairs

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.masks import audit_masks, read_labels
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.semantic.legends import read_classes
from casvit_mm.datasets.issues import Severity

COLOURED = {
    'labelmap.txt': '# label:color_rgb:parts:actions\nsky:1,2,3::\nroad:4,5,6::\n',
    'names first.txt': 'sky 1 2 3\nroad\t4\t5\t6\n',
    'with values.txt': '0 1 2 3 sky\n1 4 5 6 road\n',
    'labelmap.csv': 'label,red,green,blue\nsky,1,2,3\nroad,4,5,6\n',
    'class_dict.csv': 'name, r, g, b\nsky, 1, 2, 3\nroad, 4, 5, 6\n',
    'bare.csv': 'sky,1,2,3\nroad,4,5,6\n',
    'semicolons.csv': 'id;name;r;g;b\n0;sky;1;2;3\n1;road;4;5;6\n',
}
VALUED = {
    'class_names.csv': 'value,name\n1,road\n0,sky\n',
    'lines.txt': '0: sky\n1: road\n',
    'columns.txt': '0 sky\n1 road\n',
    'commas.txt': '0,sky\n1,road\n',
    'map.json': '{"1": "road", "0": "sky"}',
    'table.txt': 'Idx\tRatio\tName\n0\t0.5\tsky\n1\t0.5\troad\n',
}


@pytest.mark.parametrize('name', COLOURED)
def test_colours_are_read_wherever_they_stand(name, tmp_path):
    (tmp_path / name).write_text(COLOURED[name])
    found = [(entry.name, entry.colour) for entry in read_classes(tmp_path / name).entries]
    assert found == [('sky', (1, 2, 3)), ('road', (4, 5, 6))]


@pytest.mark.parametrize('name', VALUED)
def test_values_order_the_classes(name, tmp_path):
    (tmp_path / name).write_text(VALUED[name])
    found = [(entry.name, entry.value) for entry in read_classes(tmp_path / name).entries]
    assert found == [('sky', 0), ('road', 1)]


@pytest.mark.parametrize(
    ('encoding', 'name', 'said'),
    [
        ('utf-8-sig', 'Bär', 'byte order mark'),
        ('utf-16', '天空', 'UTF-16'),
        ('gbk', '天空', 'GBK'),
        ('cp1252', 'Bär', 'Windows-1252'),
        ('utf-8', 'Bär', ''),
    ],
)
@pytest.mark.parametrize('file', ['classes.txt', 'labelmap.csv'])
def test_names_are_read_in_the_encodings_of_common_tools_with_a_note(
    tmp_path, encoding, name, said, file
):
    rows = [name, 'road', 'car']
    if file == 'labelmap.csv':
        rows = ['name,r,g,b', *(f'{row},{index},5,6' for index, row in enumerate(rows))]
    text = '\n'.join(rows)
    (tmp_path / file).write_bytes(text.encode(encoding))
    dataset = read_dataset(write_pairs(tmp_path), 'semantic')
    assert dataset.classes == [name, 'road', 'car']
    assert any(said in note for note in dataset.notes) if said else not dataset.notes


def test_spaces_around_names_are_left_out_with_a_note(tmp_path):
    (tmp_path / 'classes.txt').write_text('sky \n road\ncar\n')
    dataset = read_dataset(write_pairs(tmp_path), 'semantic')
    assert dataset.classes == ['sky', 'road', 'car']
    assert 'Spaces around 2 class names' in dataset.notes[0]


@pytest.mark.parametrize('name', ['classes.txt', 'class_names.txt', 'labelmap.txt', 'obj.names'])
@pytest.mark.parametrize('place', ['', 'img_dir', 'ann_dir', 'ann_dir/train'])
def test_lists_of_names_are_found_in_the_folders_around_the_masks(tmp_path, name, place):
    write_pairs(tmp_path, image='img_dir/{split}/{name}.jpg', mask='ann_dir/{split}/{name}.png')
    (tmp_path / place / name).write_text('sky\nroad\ncar\n')
    assert read_dataset(tmp_path, 'semantic').classes == ['sky', 'road', 'car']


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.csv', b'name,value\nsky,x\n', 'Row 2 .* has the value'),
        ('a.csv', b'name,r,g,b\nsky,1,2\n', 'Row 2 .* too few cells'),
        ('a.csv', b'1,2\n3,4\n', 'neither a table'),
        ('a.json', b'{"sky": ', 'is not JSON'),
        ('a.json', b'[' * 100_000, 'is not JSON'),
        ('a.json', b'{"sky": 3}', 'neither'),
        ('a.txt', b'\xff\xfea\0b', 'starts like UTF-16 text'),
    ],
)
def test_what_is_no_legend_is_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_classes(tmp_path / name)


def write_palette(path, labels, colours):
    image = Image.fromarray(labels)
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)


@pytest.mark.parametrize('shuffled', [False, True])
def test_the_colours_of_a_palette_decide_if_a_legend_names_them(tmp_path, shuffled):
    colours = [(0, 0, 0), (200, 10, 10), (10, 200, 10)]
    write_pairs(tmp_path)
    lines = [f'{name}:{r},{g},{b}::' for name, (r, g, b) in zip('abc', colours, strict=True)]
    (tmp_path / 'labelmap.txt').write_text('\n'.join(lines))
    order = [2, 0, 1] if shuffled else [0, 1, 2]
    for path in (tmp_path / 'labels').rglob('*.png'):
        labels = np.array(Image.open(path))
        stored = np.argsort(order).astype(np.uint8)[labels]
        write_palette(path, stored, [colours[index] for index in order])
    dataset = read_dataset(tmp_path, 'semantic')
    assert dataset.format == f'semantic masks with {"colours" if shuffled else "class indices"}'
    audit = audit_masks(dataset, progress=False)
    assert audit.classes == ['a', 'b', 'c'] and not audit.issues.of(Severity.ERROR)
    for number, pair in enumerate(dataset.splits['train']):
        labels, _ = read_labels(pair.mask, dataset.legend)
        assert np.array_equal(audit.indices(labels), labels_of(number))


def test_grey_levels_that_a_legend_names_are_colours(tmp_path):
    write_pairs(tmp_path, classes=2, values=(0, 255))
    (tmp_path / 'labelmap.txt').write_text('ground:0,0,0::\ncrack:255,255,255::\n')
    audit = audit_masks(read_dataset(tmp_path, 'semantic'), progress=False)
    assert audit.classes == ['ground', 'crack'] and not audit.issues.of(Severity.ERROR)
    assert audit.facts['train'].masks['crack'] == 4 and not audit.verbatim
