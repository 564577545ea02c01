"""Layouts of images with semantic masks, and legends of their colours."""

import faulty
import numpy as np
import pytest
from PIL import Image

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.masks import read_legend, wheel

LAYOUTS = {
    'by kind': ('images/train/a.jpg', 'annotations/train/a.png', 'images/val/b.jpg',
                'annotations/val/b.png'),
    'by split': ('train/images/a.jpg', 'train/masks/a.png', 'valid/images/b.jpg',
                 'valid/masks/b.png'),
    'annot': ('train/a.png', 'trainannot/a.png', 'val/b.png', 'valannot/b.png'),
    'same folder': ('train/a.jpg', 'train/a_mask.png', 'valid/b.jpg', 'valid/b_mask.png'),
}  # fmt: skip


def image(path, mode='RGB', value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (8, 8, 3) if mode == 'RGB' else (8, 8)
    Image.fromarray(np.full(shape, value, np.uint8), mode).save(path)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_images_and_semantic_masks_are_paired_in_each_layout(layout, tmp_path):
    files = LAYOUTS[layout]
    for index, name in enumerate(files):
        image(tmp_path / name, 'L' if index % 2 else 'RGB')
    dataset = read_dataset(tmp_path, 'semantic')
    assert dataset.format == 'semantic masks with class indices'
    for split, (name, mask) in zip(('train', 'val'), (files[:2], files[2:]), strict=True):
        (pair,) = dataset.splits[split]
        assert pair.image == tmp_path / name and pair.mask == tmp_path / mask


def test_a_devkit_is_split_by_its_lists(tmp_path):
    for name in 'abc':
        image(tmp_path / f'JPEGImages/{name}.jpg')
        image(tmp_path / f'SegmentationClass/{name}.png', 'L')
    lists = tmp_path / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('a\nc\n')
    (lists / 'val.txt').write_text('b\n')
    dataset = read_dataset(tmp_path, 'semantic')
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == dict(train=2, val=1)


LEGENDS = {
    'labelmap.txt': '# label:color_rgb:parts:actions\nsky:1,2,3::\nroad:4,5,6::\n',
    'label_colors.txt': '1 2 3\tsky\n4 5 6\troad\n',
    'class_dict.csv': 'name,r,g,b\nsky,1,2,3\nroad,4,5,6\n',
    'legend.json': '{"sky": [1, 2, 3], "road": [4, 5, 6]}',
}


@pytest.mark.parametrize('name', LEGENDS)
def test_the_legends_of_each_tool_are_read(name, tmp_path):
    (tmp_path / name).write_text(LEGENDS[name])
    assert read_legend(tmp_path / name) == [('sky', (1, 2, 3)), ('road', (4, 5, 6))]
    image(tmp_path / 'images/a.jpg')
    image(tmp_path / 'masks/a.png', value=1)
    dataset = read_dataset(tmp_path, 'semantic')
    assert dataset.format == 'semantic masks with colours'
    assert dataset.classes == ['sky', 'road']
    assert dataset.legend == {(1, 2, 3): 0, (4, 5, 6): 1}


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('classes.txt', 'sky\nroad\n'),
        ('_classes.csv', 'Pixel Value, Class\n0, sky\n1, road\n'),
        ('names.json', '["sky", "road"]'),
    ],
)
def test_names_without_colours_are_read(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert read_legend(tmp_path / name) == [('sky', None), ('road', None)]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1 2 300 sky', 'Line 1 .* no colour'),
        ('sky\n1 2 3', 'Line 2 .* cannot be parsed'),
    ],
)
def test_the_invalid_line_of_a_legend_is_named(text, message, tmp_path):
    path = tmp_path / 'legend.txt'
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_legend(path)


def test_classes_without_names_are_numbered_and_a_note_says_so(tmp_path):
    image(tmp_path / 'images/a.jpg')
    image(tmp_path / 'masks/a.png', 'L', value=2)
    dataset = read_dataset(tmp_path, 'semantic')
    assert dataset.classes == ['class_0', 'class_1', 'class_2']
    assert 'has no classes.txt' in dataset.notes[0]


def test_semantic_masks_with_other_names_than_the_images_are_an_error(tmp_path):
    image(tmp_path / 'images/a.jpg')
    image(tmp_path / 'masks/b.png', 'L')
    with pytest.raises(DatasetError, match=r'No image in .* has a semantic mask of the same name'):
        read_dataset(tmp_path, 'semantic')


def test_default_colours_of_classes_differ():
    assert len({wheel(index) for index in range(150)}) == 150


@pytest.mark.parametrize('damage', [faulty.make_colours_of, faulty.truncate, faulty.empty])
@pytest.mark.parametrize('place', [0, 1, 3])
def test_a_single_damaged_mask_does_not_change_how_the_others_are_read(tmp_path, damage, place):
    for number in range(4):
        for folder, mode in (('images', 'RGB'), ('masks', 'L')):
            (tmp_path / folder).mkdir(exist_ok=True)
            values = np.random.default_rng(number).integers(0, 3, (20, 30), np.uint8)
            Image.fromarray(values).convert(mode).save(tmp_path / folder / f'{number}.png')
    (tmp_path / 'classes.txt').write_text('road\nsky\ncar\n')
    damage(tmp_path / f'masks/{place}.png', np.random.default_rng(0))
    dataset = read_dataset(tmp_path, 'semantic')
    assert dataset.classes == ['road', 'sky', 'car'] and dataset.legend is None
