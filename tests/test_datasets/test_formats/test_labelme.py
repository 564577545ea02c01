"""LabelMe datasets: every type of shape, images in other folders, other encodings."""

import base64
import io
import json
import math

import numpy as np
import pytest
from labelled import SIZE, annotations, contents, image, labelme, noted, shape, text
from PIL import Image
from pycocotools import mask as rle

from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.semantic.drawing import draw_masks

TRIANGLE = [[10, 10], [40, 10], [40, 40.5]]
SQUARE = [[10, 20], [30, 20], [30, 40], [10, 40]]


def labelled(root, *shapes, stems='a', suffix='.png', encoding='utf-8', **more):
    for stem in stems:
        image(root / f'{stem}{suffix}')
        content = labelme(f'{stem}{suffix}', *shapes, **more)
        text(root / f'{stem}.json', json.dumps(json.loads(content), ensure_ascii=False), encoding)


def mask_of(pixels):
    """A mask as LabelMe writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.JPG', '.bmp', '.tiff', '.webp'])
def test_images_of_every_type_have_their_objects(tmp_path, suffix):
    labelled(tmp_path, shape('cat', TRIANGLE), stems=('a', 'b.v2', 'c 3'), suffix=suffix)
    image(tmp_path / f'background{suffix}')
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts == {'all': (4, {'cat': 3})} and not errors
    (found,) = annotations(dataset)['b.v2']
    assert found['segmentation'] == [[10, 10, 40, 10, 40, 40.5]]
    assert (found['bbox'], found['area']) == ([10, 10, 30, 30.5], 30 * 30.5 / 2)


def test_labels_that_are_no_classes_are_left_out_with_their_number(tmp_path):
    ignored = ['__ignore__', '_background_', '__ignored__']
    shapes = [shape(label, TRIANGLE) for label in ['cat', *ignored]]
    labelled(tmp_path, *shapes, shape('dog', [[20, 50], [25, 50]], 'circle'), stems='abc')
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts == {'all': (3, {'cat': 3, 'dog': 3})} and not errors
    for label in ignored:
        assert noted(dataset, '3 shapes', repr(label), 'left out')


@pytest.mark.parametrize('radius', [2, 12.5])
def test_circles_are_polygons_of_nearly_their_area(tmp_path, radius):
    labelled(tmp_path, shape('dog', [[40, 30], [40, 30 - radius]], 'circle'))
    (found,) = annotations(contents(tmp_path, 'instance')[0])['a']
    assert found['area'] == pytest.approx(math.pi * radius**2, rel=0.01)
    assert found['bbox'] == pytest.approx([40 - radius, 30 - radius, 2 * radius, 2 * radius])


@pytest.mark.parametrize('points', [[[10, 40], [30, 20]], [[30, 40], [10, 20]], SQUARE])
def test_rectangles_are_their_own_masks(tmp_path, points):
    labelled(tmp_path, shape('cat', points, 'rectangle'), stems='abc')
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts == {'all': (3, {'cat': 3})} and not errors
    (found,) = annotations(dataset)['c']
    assert (found['bbox'], found['area']) == ([10, 20, 20, 20], 400)
    assert found['segmentation'] == [[10, 20, 30, 20, 30, 40, 10, 40]]


@pytest.mark.parametrize('kind', ['rotation', 'rotated_rectangle', 'oriented_rectangle'])
def test_rotated_rectangles_are_read_as_polygons(tmp_path, kind):
    corners = [[30, 10], [50, 20], [40, 40], [20, 30]]
    labelled(tmp_path, shape('ship', corners, kind, direction=0.4), stems='ab')
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts == {'all': (2, {'ship': 2})} and not errors
    assert annotations(dataset)['a'][0]['segmentation'] == [[30, 10, 50, 20, 40, 40, 20, 30]]
    assert noted(dataset, '2 rotated rectangles')


def test_lines_and_points_are_left_out_with_a_note(tmp_path):
    kinds = ['line', 'linestrip', 'point', 'points', 'cuboid']
    shapes = [shape('cat', [[1, 2], [5, 6], [7, 3]], kind) for kind in kinds]
    labelled(tmp_path, *shapes, shape('cat', TRIANGLE), shape('cat', TRIANGLE, None))
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (1, {'cat': 2})} and not errors
    assert all(noted(dataset, '1 shape', repr(kind), 'left out') for kind in kinds)


def test_masks_are_placed_pixel_by_pixel(tmp_path):
    pixels = np.zeros((5, 7), bool)
    pixels[1:4, 2:6] = True
    pixels[4, 0] = True
    shapes = [
        shape('m', [[10, 20], [16, 24]], 'mask', mask=mask_of(pixels)),
        shape('m', [[16, 24], [10, 20]], 'mask', mask=mask_of(pixels * 255)),
        # Partly outside the image.
        shape('m', [[92, 61], [98, 65]], 'mask', mask=mask_of(pixels)),
        shape('m', [[0, 0], [95, 63]], 'mask', mask=mask_of(np.ones((64, 96)))),
    ]
    labelled(tmp_path, *shapes)
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts == {'all': (1, {'m': 4})} and not errors
    expected = np.zeros((2, 64, 96), bool)
    expected[0, 20:25, 10:17] = pixels
    expected[1, 61:64, 92:96] = pixels[:3, :4]
    found = annotations(dataset)['a']
    decoded = [rle.decode(annotation['segmentation']).astype(bool) for annotation in found]
    assert (decoded[0] == expected[0]).all() and (decoded[1] == expected[0]).all()
    assert (decoded[2] == expected[1]).all() and decoded[3].all()
    assert (found[0]['bbox'], found[0]['area']) == ([10, 21, 6, 4], 13)


def test_shapes_of_a_group_are_one_object(tmp_path):
    mask = shape('m', [[50, 50], [52, 51]], 'mask', mask=mask_of(np.ones((2, 3))))
    shapes = [
        shape('cat', TRIANGLE, group_id=1),
        shape('cat', SQUARE, group_id=1),
        shape('dog', SQUARE, group_id=1),
        shape('cat', [[1, 1], [5, 5]], 'rectangle', group_id='x'),
        mask | dict(group_id=2),
        shape('m', SQUARE, group_id=2),
    ]
    labelled(tmp_path, *shapes)
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts == {'all': (1, {'cat': 2, 'dog': 1, 'm': 1})} and not errors
    first, _, _, joined = annotations(dataset)['a']
    assert first['segmentation'] == [
        [10, 10, 40, 10, 40, 40.5],
        [10, 20, 30, 20, 30, 40, 10, 40],
    ]
    assert first['bbox'] == [10, 10, 30, 30.5] and first['source']['record'] == 'shapes[0]'
    assert (joined['area'], joined['bbox']) == (406, [10, 20, 43, 32])


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'gbk'])
def test_files_in_other_encodings_are_read_and_said(tmp_path, encoding):
    labelled(tmp_path, shape('箱子', TRIANGLE), shape('三角', SQUARE), encoding=encoding)
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (1, {'三角': 1, '箱子': 1})} and not errors
    assert noted(dataset, 'a.json was read as') == (encoding != 'utf-8')


@pytest.mark.parametrize(
    ('images', 'files', 'path'),
    [
        ('images', 'json', '../images/{}'),
        ('images', 'json', '..\\images\\{}'),
        ('images', 'json', '{}'),
        ('a/b/c', 'labels', 'elsewhere/{}'),
        ('', 'json', 'D:\\photos\\{}'),
        ('', '', '/home/me/photos/{}'),
        ('train/img', 'train/ann', '../img/{}'),
    ],
)
def test_images_are_found_wherever_they_lie(tmp_path, images, files, path):
    for stem in 'abc':
        image(tmp_path / images / f'{stem}.jpg')
        content = labelme(path.format(f'{stem}.jpg'), shape('cat', TRIANGLE))
        text(tmp_path / files / f'{stem}.json', content)
    image(tmp_path / images / 'background.jpg')
    dataset, counts, errors = contents(tmp_path)
    split = 'train' if images.startswith('train') else 'all'
    assert counts == {split: (4, {'cat': 3})} and not errors
    assert noted(dataset, 'outside') == (path[0] in 'D/')


def test_the_image_of_another_type_with_the_same_name_is_found(tmp_path):
    image(tmp_path / 'a.jpg')
    text(tmp_path / 'a.json', labelme('a.png', shape('cat', TRIANGLE)))
    assert contents(tmp_path)[1:] == ({'all': (1, {'cat': 1})}, [])


def test_all_files_of_an_image_are_read(tmp_path):
    labelled(tmp_path, shape('cat', TRIANGLE), suffix='.jpg')
    text(tmp_path / 'a_second.json', labelme('a.jpg', shape('dog', SQUARE)))
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (1, {'cat': 1, 'dog': 1})} and not errors
    assert noted(dataset, '1 image', 'several annotation files', 'a.jpg')


@pytest.mark.parametrize('path', ['../../secret.png', '/etc/secret.png', 'C:\\secret.png'])
def test_an_image_outside_the_dataset_is_not_read(tmp_path, path):
    root = tmp_path / 'a/b/data'
    image(tmp_path / 'a/secret.png')
    labelled(root, shape('cat', TRIANGLE))
    file = text(root / 'x.json', labelme(path, shape('dog', SQUARE)))
    _, counts, (error,) = contents(root)
    assert counts == {'all': (1, {'cat': 1})}
    assert (error.kind, error.file) == ('unused-annotation-file', str(file))
    assert 'outside' in error.detail and 'secret.png' in error.detail


@pytest.mark.parametrize('path', ['', None, 5, ['a.png'], '..', 'x\0.png', 'x\ud800.png', '/'])
def test_an_image_path_that_no_file_can_have_is_an_error(tmp_path, path):
    labelled(tmp_path, shape('cat', TRIANGLE))
    file = text(tmp_path / 'x.json', labelme(path, shape('cat', SQUARE)))
    _, counts, (error,) = contents(tmp_path)
    assert counts == {'all': (1, {'cat': 1})} and error.file == str(file)
    assert error.kind in ('unused-annotation-file', 'unreadable-annotation')


def test_a_missing_image_is_an_error_of_that_image(tmp_path):
    labelled(tmp_path, shape('cat', TRIANGLE))
    text(tmp_path / 'x.json', labelme('gone.png', shape('cat', SQUARE)))
    _, _, (error,) = contents(tmp_path)
    assert (error.kind, error.file) == ('missing-picture', str(tmp_path / 'gone.png'))


@pytest.mark.parametrize(
    'damaged',
    [
        5,
        dict(label='cat', shape_type='polygon'),
        shape(None, TRIANGLE),
        shape(['cat'], TRIANGLE),
        shape('  ', TRIANGLE),
        shape('cat', TRIANGLE[:2]),
        shape('cat', [1, 2, 3, 4, 5, 6]),
        shape('cat', [*TRIANGLE, [1, 2, 3]]),
        shape('cat', [*TRIANGLE, [1, None]]),
        shape('cat', [*TRIANGLE, [1, float('nan')]]),
        shape('cat', [*TRIANGLE, [1e308, 5]]),
        shape('cat', [*TRIANGLE, [-(10**400), 5]]),
        shape('cat', TRIANGLE, 'circle'),
        shape('cat', [[5, 5], [1e6, 5]], 'circle'),
        shape('cat', TRIANGLE, 'rectangle'),
        shape('cat', TRIANGLE, 'rotation'),
        shape('cat', [[1, 1], [5, 5]], 'mask'),
        shape('cat', [[1, 1], [5, 5]], 'mask', mask='no base64'),
        shape('cat', [[1, 1], [5, 5]], 'mask', mask=mask_of(np.ones((2, 2)))),
        shape('cat', [[1, 1], [5, 5]], 'mask', mask=mask_of(np.zeros((5, 5)))),
        shape('cat', [[200, 1], [204, 5]], 'mask', mask=mask_of(np.ones((5, 5)))),
    ],
)
def test_a_shape_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path, damaged):
    labelled(tmp_path, shape('cat', TRIANGLE), damaged, shape('cat', SQUARE))
    _, counts, (error,) = contents(tmp_path)
    assert counts == {'all': (1, {'cat': 2})}
    assert error.kind == 'unreadable-annotation' and error.record == 'shapes[1]'


@pytest.mark.parametrize(
    'content',
    [
        '{"imagePath": "b.png", "shapes": ' + '[' * 10**5 + ']' * 10**5 + '}',
        '{"imagePath": "b.png", "shapes": 5}',
        '{"imagePath": "b.png"}',
        '{"imagePath": "b.png", "shapes": [',
        '[{"imagePath": "b.png", "shapes": []}]',
        '{"imagePath": "b.png", "shapes": []}' + '\x00',
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    labelled(tmp_path, shape('cat', TRIANGLE))
    image(tmp_path / 'b.png')
    file = text(tmp_path / 'b.json', content)
    _, counts, (error,) = contents(tmp_path)
    assert counts == {'all': (2, {'cat': 1})}
    assert (error.kind, error.file, error.record) == ('unreadable-annotation', str(file), '')


def test_other_json_files_are_left_out(tmp_path):
    labelled(tmp_path, shape('cat', TRIANGLE), stems='bc')
    text(tmp_path / 'a_settings.json', '{"theme": "dark"}')
    text(tmp_path / 'z.json', '[1, 2')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (2, {'cat': 2})} and not errors and noted(dataset, '2 JSON files')


def test_coordinates_from_0_to_1_are_named(tmp_path):
    labelled(tmp_path, shape('cat', [[0.1, 0.2], [0.5, 0.9]], 'rectangle'), stems='abc')
    (error,) = [e for e in contents(tmp_path)[2] if e.kind == 'normalised-box']
    assert 'coordinates look normalised' in error.detail


@pytest.mark.parametrize('stated', [None, 0, 'wide', True, [96], 1e308])
def test_a_size_that_the_file_does_not_state_is_read_from_the_image(tmp_path, stated):
    labelled(tmp_path, shape('cat', TRIANGLE), imageWidth=stated)
    (record,) = read_dataset(tmp_path).splits['all'].content['images']
    assert (record['width'], record['height']) == SIZE


def test_regions_to_ignore_are_255_in_drawn_masks_and_background_regions_cut_holes(tmp_path):
    whole, hole, edge = [[5, 5], [45, 45]], [[20, 20], [30, 30]], [[50, 5], [60, 15]]
    shapes = [('cat', whole), ('_background_', hole), ('__ignore__', edge), ('__ignored__', whole)]
    labelled(tmp_path / 'data', *(shape(label, points, 'rectangle') for label, points in shapes))
    dataset = read_dataset(tmp_path / 'data', task='instance')
    masks = draw_masks(dataset, tmp_path / 'masks')
    labels = np.array(Image.open(masks.splits['all'][0].mask))
    assert masks.classes == ['background', 'cat']
    # A region to ignore lies beneath the objects.
    assert labels[10, 10] == 1 and labels[25, 25] == 0 and labels[10, 55] == 255
    assert labels[55, 10] == 0
    assert any('2 regions marked to be ignored' in note for note in masks.notes)
