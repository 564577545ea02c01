"""YOLO datasets in every layout that tools write, with boxes, polygons, rotated boxes and poses."""

import json

import pytest
from labelled import annotations, contents, image, noted, text

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.formats.find import read_dataset

BOX = '0 0.5 0.5 0.4 0.4\n'
LINE_ENDS = ['\n', '\r\n', '\r']


def labelled(root, image_folder, label_folder, stems='abc', suffix='.png', label=BOX):
    """Images in one folder and their label files in another."""
    for stem in stems:
        image(root / image_folder / f'{stem}{suffix}')
        text(root / label_folder / f'{stem}.txt', label)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.JPEG', '.bmp', '.tif', '.webp'])
@pytest.mark.parametrize('newline', LINE_ENDS)
def test_images_of_every_type_have_their_objects(tmp_path, suffix, newline):
    for stem in ('one', 'two.v2', 'three 3'):
        image(tmp_path / f'images/{stem}{suffix}')
        text(
            tmp_path / f'labels/{stem}.txt', '0 0.5 0.5 0.5 0.25\n1 .25 .5 .5 1\n', newline=newline
        )
    text(tmp_path / 'classes.txt', 'cat\ndog\n', newline=newline)
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (3, {'cat': 3, 'dog': 3})} and not errors
    first, second = annotations(dataset)['two.v2']
    assert (first['bbox'], first['area']) == ([24, 24, 48, 16], 768)
    assert second['bbox'] == [0, 0, 48, 64]


@pytest.mark.parametrize(
    ('images', 'labels'),
    [
        ('images', 'labels'),
        ('images/{}', 'labels/{}'),
        ('{}/images', '{}/labels'),
        ('data/{}/Images', 'data/{}/Labels'),
        ('{}', '{}'),
        ('{}', '{}/labels'),
        ('{}', 'labels/{}'),
        ('JPEGImages/{}', 'labels/{}'),
        ('{}/images/set1', '{}/labels/set1'),
        ('obj_{}_data', 'obj_{}_data'),
        ('{}/images', '{}/annotations'),
        ('images/{}', 'labels_txt/{}'),
        ('{}/img', '{}/yolo boxes'),
    ],
)
def test_label_files_are_found_in_every_common_place(tmp_path, images, labels):
    splits = ('train', 'valid') if '{}' in images else ('all',)
    for split in splits:
        labelled(tmp_path, images.format(split), labels.format(split))
        image(tmp_path / images.format(split) / 'background.png')
    text(tmp_path / 'classes.txt', 'cat\n')
    dataset, counts, errors = contents(tmp_path)
    names = {'train': 'train', 'valid': 'val', 'all': 'all'}
    assert counts == {names[split]: (4, {'cat': 3}) for split in splits} and not errors
    elsewhere = labels.split('/')[-1] in ('annotations', 'yolo boxes') or 'txt' in labels
    assert noted(dataset, 'not called labels') == elsewhere


def test_a_label_file_may_have_the_full_name_of_its_image(tmp_path):
    image(tmp_path / 'images/a.jpg')
    text(tmp_path / 'labels/a.jpg.txt', BOX)
    text(tmp_path / 'classes.txt', 'cat\n')
    assert contents(tmp_path)[1] == {'all': (1, {'cat': 1})}


def test_a_label_file_of_another_split_with_the_same_name_is_not_taken(tmp_path):
    labelled(tmp_path, 'train/images', 'train/ann', 'ab')
    image(tmp_path / 'val/images/a.png')
    labelled(tmp_path, 'val/images', 'val/ann', 'c')
    text(tmp_path / 'classes.txt', 'cat\n')
    dataset, counts, _ = contents(tmp_path)
    assert counts == {'train': (2, {'cat': 2}), 'val': (2, {'cat': 1})}
    assert annotations(dataset, 'val')['a'] == []


def test_label_files_of_no_image_are_an_error_and_other_text_files_are_not(tmp_path):
    labelled(tmp_path, 'images', 'labels')
    orphan = text(tmp_path / 'labels/renamed.txt', BOX)
    text(tmp_path / 'labels/empty.txt', '')
    text(tmp_path / 'README.roboflow.txt', 'Exported on 1 2 3 4 5\n')
    text(tmp_path / 'requirements.txt', 'numpy\n')
    text(tmp_path / 'classes.txt', 'cat\n')
    _, _, errors = contents(tmp_path)
    assert [(e.kind, e.file) for e in errors] == [('unused-annotation-file', str(orphan))]


def test_a_second_label_file_of_an_image_is_left_out_with_a_note(tmp_path):
    labelled(tmp_path, 'images', 'labels')
    text(tmp_path / 'old/a.txt', BOX * 3)
    text(tmp_path / 'classes.txt', 'cat\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (3, {'cat': 3})} and not errors
    assert noted(dataset, '1 label file', 'left out', 'old/a.txt')


@pytest.mark.parametrize(('named', 'there'), [('../valid', 'validation'), ('val', 'Val_set')])
def test_a_named_split_that_is_not_there_is_an_error_that_names_both(tmp_path, named, there):
    labelled(tmp_path, 'train/images', 'train/labels')
    labelled(tmp_path, f'{there}/images', f'{there}/labels', 'de')
    text(
        tmp_path / 'data.yaml',
        f'train: ../train/images\nval: {named}/images\nnc: 1\nnames: [cat]\n',
    )
    _, counts, (error,) = contents(tmp_path)
    assert counts == {'train': (3, {'cat': 3})}
    assert error.kind == 'missing-split' and error.file == str(tmp_path / 'data.yaml')
    assert f'{named}/images' in error.detail and f'{there}/images' in error.detail


def test_a_test_split_that_exporters_name_in_any_case_is_only_noted(tmp_path):
    labelled(tmp_path, 'train/images', 'train/labels')
    text(tmp_path / 'data.yaml', 'train: train/images\ntest: ../test/images\nnames: [cat]\n')
    dataset, _, errors = contents(tmp_path)
    assert not errors and noted(dataset, '../test/images')


@pytest.mark.parametrize(
    'entry',
    [
        *('images/train', './images/train', '../images/train', '/home/me/set/images/train'),
        *('C:\\data\\images\\train', 'images\\train', 'datasets/mine/images/train/'),
    ],
)
@pytest.mark.parametrize('base', ['', '/somewhere/else', '.', '../mine'])
def test_paths_of_another_machine_are_found(tmp_path, entry, base):
    labelled(tmp_path, 'images/train', 'labels/train')
    labelled(tmp_path, 'images/val', 'labels/val', 'xy')
    described = dict(train=entry, val=entry.replace('train', 'val'), names=['cat'])
    # JSON is YAML.
    text(tmp_path / 'data.yaml', json.dumps(described | (dict(path=base) if base else {})))
    _, counts, errors = contents(tmp_path)
    assert counts == {'train': (3, {'cat': 3}), 'val': (2, {'cat': 2})} and not errors


def test_a_split_of_another_name_never_takes_the_place_of_a_missing_one(tmp_path):
    labelled(tmp_path, 'images', 'labels')
    text(tmp_path / 'data.yaml', 'train: images\nval: ../valid/images\nnames: [cat]\n')
    _, counts, (error,) = contents(tmp_path)
    assert list(counts) == ['train'] and error.kind == 'missing-split'


def test_folders_outside_the_dataset_are_not_read(tmp_path):
    root = tmp_path / 'mine'
    labelled(root, 'images', 'labels')
    labelled(tmp_path, 'other', 'other')
    text(root / 'data.yaml', f'train: images\nval: {tmp_path}/other\nnames: [cat]\n')
    _, counts, (error,) = contents(root)
    assert list(counts) == ['train'] and str(tmp_path / 'other') in error.detail


@pytest.mark.parametrize(
    'prefix', ['data/images', './images', '/old/place/images', 'C:\\x\\images']
)
@pytest.mark.parametrize('newline', LINE_ENDS)
def test_the_ultralytics_export_of_cvat_is_read(tmp_path, prefix, newline):
    separator = '\\' if '\\' in prefix else '/'
    for split, stems in (('train', 'abc'), ('val', 'de')):
        labelled(tmp_path, f'images/{split}', f'labels/{split}', stems, '.jpg')
        lines = [separator.join((prefix, split, f'{stem}.jpg')) for stem in stems]
        text(tmp_path / f'{split}.txt', '\n'.join(lines), newline=newline)
    text(
        tmp_path / 'data.yaml', 'names:\n  0: cat\npath: .\ntrain: train.txt\nval: val.txt\n'
    )  # fmt: skip
    _, counts, errors = contents(tmp_path)
    assert counts == {'train': (3, {'cat': 3}), 'val': (2, {'cat': 2})} and not errors


def test_yolo_1_1_of_cvat_and_darknet_are_read(tmp_path):
    labelled(tmp_path, 'obj_train_data/sub', 'obj_train_data/sub')
    labelled(tmp_path, 'obj_validation_data', 'obj_validation_data', 'de')
    text(tmp_path / 'obj.names', 'cat\n')
    text(
        tmp_path / 'obj.data',
        'classes = 1\ntrain = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\n'
        'backup = backup/\n',
    )
    text(tmp_path / 'train.txt', ''.join(f'data/obj_train_data/sub/{s}.png\n' for s in 'abc'))
    text(tmp_path / 'val.txt', ''.join(f'data/obj_validation_data/{s}.png\n' for s in 'de'))
    expected = {'train': (3, {'cat': 3}), 'val': (2, {'cat': 2})}
    assert contents(tmp_path)[1:] == (expected, [])
    # Lists alone also say it.
    (tmp_path / 'obj.data').unlink()
    assert contents(tmp_path)[1:] == (expected, [])


def test_an_image_that_a_list_names_and_that_is_not_there_is_an_error(tmp_path):
    labelled(tmp_path, 'images', 'labels', 'ab')
    text(tmp_path / 'train.txt', 'images/a.png\nimages/gone.png\n')
    text(tmp_path / 'val.txt', 'elsewhere/x.png\n')
    text(tmp_path / 'data.yaml', 'train: train.txt\nval: val.txt\nnames: [cat]\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'train': (2, {'cat': 1})}
    assert sorted(e.kind for e in errors) == ['missing-picture', 'missing-split']
    assert noted(dataset, '1 image left out', 'b.png')


def test_splits_that_name_the_same_folder_are_both_read(tmp_path):
    labelled(tmp_path, 'images', 'annotations')
    text(tmp_path / 'data.yaml', 'train: images\nval: images\nnames: [cat]\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'train': (3, {'cat': 3}), 'val': (3, {'cat': 3})} and not errors
    assert noted(dataset, '3 label files', 'annotations')


def test_rotated_boxes_are_read_as_polygons(tmp_path):
    labelled(tmp_path, 'images', 'labels', label='0 0.3 0.25 0.75 0.5 0.6 1 0.2 0.75\n')
    text(tmp_path / 'data.yaml', 'train: images\nval: images\nnames: {0: ship}\n')
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert counts['train'] == (3, {'ship': 3}) and not errors
    (found,) = annotations(dataset)['a']
    assert found['segmentation'] == [[0.3 * 96, 16, 72, 32, 0.6 * 96, 64, 0.2 * 96, 48]]
    assert noted(dataset, 'rotated box', 'alike')


def test_polygons_keep_their_coordinates(tmp_path):
    label = '0 0.25 0.5 0.5 0.5 0.5 0.75 0.375 1 0.25 0.75\n'
    labelled(tmp_path, 'images', 'labels', label=label)
    text(tmp_path / 'classes.txt', 'cat\n')
    dataset, _, errors = contents(tmp_path, 'instance')
    (found,) = annotations(dataset)['a']
    assert not errors and not noted(dataset, 'rotated')
    assert found['segmentation'] == [[24, 32, 48, 32, 48, 48, 36, 64, 24, 48]]
    assert (found['bbox'], found['area']) == ([24, 32, 24, 32], 24 * 16 + 12 * 16)


@pytest.mark.parametrize('shape', ['[3, 3]', '[4, 2]', None])
def test_keypoints_are_dropped_with_a_note(tmp_path, shape):
    points = {
        '[3, 3]': ' .4 .4 2 .5 .5 1 0 0 0',
        '[4, 2]': ' .4 .4 .5 .5 .6 .6 .5 .4',
        None: ' .4 .4 2 .5 .5 1 .6 .6 2 .6 .5 2 .5 .6 0',
    }
    labelled(tmp_path, 'images', 'labels', label='0 0.5 0.5 0.5 0.5' + points[shape] + '\n')
    stated = f'kpt_shape: {shape}\n' if shape else ''
    text(tmp_path / 'data.yaml', f'train: images\n{stated}names: [person]\n')
    dataset, _, errors = contents(tmp_path)
    (found,) = annotations(dataset)['b']
    assert found['bbox'] == [24, 16, 48, 32] and 'segmentation' not in found and not errors
    assert noted(dataset, '3 objects with keypoints')


def test_a_score_after_a_box_is_dropped_with_a_note(tmp_path):
    labelled(tmp_path, 'images', 'labels', label='0 0.5 0.5 0.5 0.5 0.91\n')
    text(tmp_path / 'classes.txt', 'cat\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (3, {'cat': 3})} and not errors and noted(dataset, 'sixth value')


def test_classes_that_no_file_names_are_numbered(tmp_path):
    labelled(tmp_path, 'images', 'labels', label='10 .5 .5 .1 .1\n2 .5 .5 .1 .1\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (3, {'class_2': 3, 'class_10': 3})} and not errors
    assert noted(dataset, 'No file names the classes', 'classes.txt')


@pytest.mark.parametrize(
    ('encoding', 'said'),
    [
        ('utf-8', ''),
        ('utf-8-sig', 'byte order mark'),
        ('gbk', 'GBK'),
        ('utf-16', 'UTF-16'),
    ],
)
@pytest.mark.parametrize('file', ['classes.txt', 'obj.names', 'data.yaml', 'labels/a.txt'])
def test_files_in_other_encodings_are_read_and_said(tmp_path, encoding, said, file):
    labelled(tmp_path, 'images', 'labels', label='1 .5 .5 .5 .5\n')
    names = 'classes.txt' if file.startswith('labels') else file
    described = 'names: [箱子, 三角]\ntrain: images\n'
    text(tmp_path / names, described if names == 'data.yaml' else '箱子\n三角\n')
    content = (tmp_path / file).read_text(encoding='utf-8')
    text(tmp_path / file, content, encoding, '\r\n')
    dataset, counts, errors = contents(tmp_path)
    ((images, objects),) = counts.values()
    assert images == 3 and objects == {'箱子': 0, '三角': 3} and not errors
    plain = file.startswith('labels') and encoding == 'gbk'
    assert noted(dataset, file, said) == (bool(said) and not plain)


def test_names_with_space_around_them_are_one_class(tmp_path):
    labelled(tmp_path, 'images', 'labels', label='0 .5 .5 .5 .5\n1 .5 .5 .5 .5\n2 .5 .5 .5 .5\n')
    text(tmp_path / 'data.yaml', 'names: ["box ", box, " tri"]\ntrain: images\n')
    dataset, counts, _ = contents(tmp_path)
    assert counts == {'train': (3, {'box': 6, 'tri': 3})}
    assert noted(dataset, 'white space', "'box '") and noted(dataset, 'one class', "'box'")


def test_words_that_yaml_takes_for_other_values_stay_names(tmp_path):
    labelled(tmp_path, 'images', 'labels')
    text(tmp_path / 'data.yaml', 'names: [no, yes, 1.0, null, on]\ntrain: images\nval:\n')
    categories = contents(tmp_path)[0].splits['train'].content['categories']
    assert [c['name'] for c in categories] == ['no', 'yes', '1.0', 'null', 'on']


def test_pixels_instead_of_shares_are_named(tmp_path):
    labelled(tmp_path, 'images', 'labels', label='0 40 30 10 12\n0 20 30 10 10\n')
    text(tmp_path / 'classes.txt', 'cat\n')
    (error,) = [e for e in contents(tmp_path)[2] if e.kind != 'nothing-to-learn']
    assert error.kind == 'normalised-box' and error.record == 'line 1'
    assert "coordinates look like pixels, YOLO's are shares of width and height" in error.detail
    # A single line may be a mistake.
    labelled(tmp_path, 'images', 'labels', label=BOX * 9)
    path = text(tmp_path / 'labels/b.txt', BOX + '0 40 30 10 12\n')
    _, counts, (error,) = contents(tmp_path)
    assert (error.kind, error.file, error.record) == ('unreadable-annotation', str(path), 'line 2')
    assert counts == {'all': (3, {'cat': 19})}


@pytest.mark.parametrize(
    'line',
    [
        *('0 .5 .5 .1', '0', '0 .1 .2 .3 .4 .5 .6 .7', 'cat .5 .5 .1 .1', '0.5 .5 .5 .1 .1'),
        *('0 nan .5 .1 .1', '0 .5 inf .1 .1', '0 1e308 .5 .1 .1', '0 .5 .5 -.1 .1'),
        *('0 .5 .5 .1 x', '1e400 .5 .5 .1 .1', f'{"9" * 5000} .5 .5 .1 .1', '0,.5,.5,.1,.1'),
        *('\x00 .5 .5 .1 .1', '0 .1 .1 .2 .2 .3 -1e9'),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path, line):
    labelled(tmp_path, 'images', 'labels')
    path = text(tmp_path / 'labels/b.txt', f'{BOX}\n{line}\n{BOX}')
    text(tmp_path / 'classes.txt', 'cat\n')
    _, counts, (error,) = contents(tmp_path)
    assert counts == {'all': (3, {'cat': 4})}
    assert error.kind in ('unreadable-annotation', 'unknown-category')
    assert (error.file, error.record) == (str(path), 'line 3')


@pytest.mark.parametrize(
    ('described', 'said'),
    [
        ('names: {a: cat}', 'not numbers'),
        ('names: {1: cat, 2: dog}', 'numbered 0, 1, 2'),
        ('names: 5', 'neither'),
        ('names: [[cat]]', 'not a name'),
    ],
)
def test_invalid_names_in_a_description_are_explained(tmp_path, described, said):
    labelled(tmp_path, 'images', 'labels')
    text(tmp_path / 'data.yaml', f'{described}\ntrain: images\n')
    with pytest.raises(DatasetError, match=said):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    'described', ['names: [cat, dog\ntrain: x', 'names: ' + '[' * 10**5, '\tnames: [a]', '[a']
)
def test_a_description_that_cannot_be_read_is_an_error(tmp_path, described):
    labelled(tmp_path, 'images', 'labels')
    path = text(tmp_path / 'data.yaml', described)
    _, counts, (error,) = contents(tmp_path)
    assert (error.kind, error.file) == ('unreadable-annotation', str(path))
    assert counts == {'all': (3, {'class_0': 3})}


def test_files_that_name_different_classes_are_an_error(tmp_path):
    labelled(tmp_path, 'train', 'train')
    labelled(tmp_path, 'val', 'val', 'de')
    text(tmp_path / 'train/classes.txt', 'cat\ndog\n')
    text(tmp_path / 'val/classes.txt', 'dog\ncat\n')
    _, _, (error,) = contents(tmp_path)
    assert error.kind == 'class-order' and error.file == str(tmp_path / 'val/classes.txt')


def test_unsplit_images_beside_those_of_train_are_part_of_it(tmp_path):
    labelled(tmp_path, 'images/train', 'labels/train')
    labelled(tmp_path, 'images', 'labels', 'de')
    text(tmp_path / 'classes.txt', 'cat\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'train': (5, {'cat': 5})} and not errors
    assert len(annotations(dataset)) == 5


def test_a_dataset_without_images_is_explained(tmp_path):
    text(tmp_path / 'data.yaml', 'train: images\nnames: [cat]\n')
    with pytest.raises(DatasetError, match='no images'):
        read_dataset(tmp_path)
