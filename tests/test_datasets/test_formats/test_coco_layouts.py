"""COCO files as people have them: incomplete, from other machines, with images anywhere."""

import codecs
import json
import random

import pytest
from images import write_image
from pycocotools import mask as rle

from casvit.errors import DatasetError
from casvit_mm.commands.data import audited
from casvit_mm.datasets.formats.coco.complete import missing_parts
from casvit_mm.datasets.formats.coco.file import load_coco
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.finetune.data import prepare_objects

SQUARE = [[5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0]]


def content_of(names, **fields):
    """A complete annotation file with one square in each image; ``fields`` replace others."""
    annotations = []
    for number, _ in enumerate(names, 1):
        record = dict(id=number, image_id=number, category_id=1, bbox=[5.0, 5.0, 10.0, 10.0])
        record |= dict(area=100.0, iscrowd=0, segmentation=SQUARE)
        record |= fields
        annotations.append({k: v for k, v in record.items() if v is not KeyError})
    return dict(
        images=[dict(id=i, file_name=name, width=40, height=30) for i, name in enumerate(names, 1)],
        annotations=annotations,
        categories=[dict(id=1, name='cat')],
    )


def written(root, content, places, *, file='annotations.json', suffix='.png'):
    root.mkdir(exist_ok=True)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (root / file).write_bytes(data)
    for number, place in enumerate(places):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / place, seed=number)
    return root


def found(root, **options):
    dataset = read_dataset(root, 'detection', **options)
    audit = audited(dataset, 'detection')
    return dataset, audit, {n: (f.images, sum(f.objects.values())) for n, f in audit.facts.items()}


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp'])
@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        (dict(area=KeyError), "2 annotations have no 'area'"),
        (dict(area=None), "2 annotations have no 'area'"),
        (dict(iscrowd=KeyError), "2 annotations have no 'iscrowd'"),
        (dict(bbox=KeyError), "2 annotations have no 'bbox'"),
        (dict(bbox=None), "2 annotations have no 'bbox'"),
        (dict(id=KeyError), "2 annotations have no 'id'"),
    ],
)
def test_missing_fields_are_completed_in_a_file_of_the_run(tmp_path, fields, said, suffix):
    names = [f'a{suffix}', f'b{suffix}']
    root = written(tmp_path / 'data', content_of(names, **fields), names)
    dataset, audit, counts = found(root)
    assert counts == dict(all=(2, 2)) and not audit.issues.issues
    assert any(said in change for change in dataset.changes)
    data = prepare_objects(audit, tmp_path / 'run', 0.5, 0)
    for split in data.splits.values():
        content = json.loads(split.ann_file.read_text())
        assert missing_parts(content) == []
        assert [a['area'] for a in content['annotations']] == [100.0]
        assert [a['bbox'] for a in content['annotations']] == [[5.0, 5.0, 10.0, 10.0]]


def test_an_area_is_that_of_the_mask(tmp_path):
    box = [5.0, 5.0, 10.0, 10.0]
    triangle = [[5, 5, 15, 5, 5, 15]]
    encoded = rle.merge(rle.frPyObjects(SQUARE, 30, 40))
    runs = dict(size=[30, 40], counts=encoded['counts'].decode())
    for segmentation, area in ((triangle, 50), (runs, rle.area(encoded)), ([], 100)):
        content = content_of(['a.png'], area=KeyError, segmentation=segmentation, bbox=box)
        dataset, *_ = found(written(tmp_path / 'data', content, ['a.png']))
        (annotation,) = dataset.splits['all'].content['annotations']
        assert annotation['area'] == area


def test_sizes_that_are_not_stated_are_read_from_the_images(tmp_path):
    content = content_of(['a.png', 'b.png'])
    for image in content['images']:
        del image['width'], image['height']
    dataset, audit, counts = found(written(tmp_path / 'data', content, ['a.png', 'b.png']))
    assert counts == dict(all=(2, 2)) and not audit.issues.issues
    assert {(i['width'], i['height']) for i in dataset.splits['all'].content['images']} == {
        (40, 30)
    }


@pytest.mark.parametrize(
    'encode',
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode('utf-16'),
        lambda text: text.encode('gbk'),
    ],
    ids=['mark', 'utf-16', 'gbk'],
)
def test_files_in_another_encoding_are_read_and_written_anew(tmp_path, encode):
    content = content_of(['a.png', 'b.png'])
    content['categories'][0]['name'] = '箱子'
    data = encode(json.dumps(content, ensure_ascii=False))
    root = written(tmp_path / 'data', data, ['a.png', 'b.png'])
    dataset, audit, _ = found(root)
    assert audit.classes == ['箱子'] and not dataset.splits['all'].verbatim
    assert any('the text is' in change for change in dataset.changes)
    assert missing_parts(*load_coco(root / 'annotations.json'))


@pytest.mark.parametrize(
    ('listed', 'there'),
    [
        ('cam\\a.png', 'cam/a.png'),
        ('C:\\data\\cam\\a.png', 'images/a.png'),
        ('/home/somebody/a.png', 'a.png'),
        ('../../upload/1/a.png', 'some folder/deep/a.png'),
        ('a.png', 'my images/a.png'),
        ('Cam/a.png', 'cam/a.png'),
        ('sub/a.png', 'JPEGImages/sub/a.png'),
    ],
)
def test_images_are_found_wherever_they_lie(tmp_path, listed, there):
    root = written(tmp_path / 'data', content_of([listed]), [there])
    _, audit, counts = found(root)
    assert counts == dict(all=(1, 1)) and not audit.issues.issues


def test_images_in_several_folders_are_all_found(tmp_path):
    names = [f'{n}.png' for n in range(6)]
    places = [f'day {n % 3}/{name}' for n, name in enumerate(names)]
    random.Random(0).shuffle(places)
    _, audit, counts = found(written(tmp_path / 'data', content_of(names), places))
    assert counts == dict(all=(6, 6)) and not audit.issues.issues


def test_images_of_another_split_do_not_take_the_place_of_missing_ones(tmp_path):
    root = tmp_path / 'data'
    names = ['0.png', '1.png']
    written(root, content_of(names), ['train/0.png', 'train/1.png'], file='a/instances_train.json')
    written(root, content_of(names), ['val/0.png'], file='a/instances_val.json')
    _, audit, _ = found(root)
    (issue,) = (i for i in audit.issues.issues if i.kind == 'missing-picture')
    assert issue.file == str(root / 'val/1.png')


def test_the_folder_of_the_images_can_be_named(tmp_path):
    root = written(tmp_path / 'data', content_of(['a.png']), ['readme/x.png'])
    with pytest.raises(DatasetError, match='--images DIR'):
        found(root)
    elsewhere = written(tmp_path / 'elsewhere', b'', ['a.png'], file='other/note.txt')
    _, audit, counts = found(root, images=elsewhere)
    assert counts == dict(all=(1, 1)) and not audit.issues.issues
    with pytest.raises(DatasetError, match='does not exist'):
        found(root, images=tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('listed', 'there'),
    [
        ('photo.JPG', 'photo.jpg'),
        ('Stra\u00dfe.png', 'STRASSE.png'),
        ('caf\u00e9.png', 'cafe\u0301.png'),
        ('a%20b.png', 'a b.png'),
        ('a b.png', 'a%20b.png'),
    ],
)
def test_a_name_that_is_written_differently_is_an_error_with_the_name_that_is_there(
    tmp_path, listed, there
):
    root = written(tmp_path / 'data', content_of([listed, 'ok.png']), [there, 'ok.png'])
    _, audit, _ = found(root)
    (issue,) = (i for i in audit.issues.issues if i.kind == 'missing-picture')
    assert repr(there.rpartition('/')[2]) in issue.detail


@pytest.mark.parametrize('name', ['../secret.png', '/etc/hostname', '..\\..\\secret.png'])
def test_an_image_outside_the_dataset_is_not_read(tmp_path, name):
    write_image(tmp_path / 'secret.png')
    root = written(tmp_path / 'data', content_of([name, 'ok.png']), ['ok.png'])
    _, audit, _ = found(root)
    (issue,) = (i for i in audit.issues.issues if i.kind == 'missing-picture')
    assert 'lies outside the dataset' in issue.detail


def test_names_of_categories_are_stripped_and_equal_ones_are_one_class(tmp_path):
    content = content_of(['a.png', 'b.png', 'c.png'])
    content['categories'] = [dict(id=i, name=n) for i, n in enumerate(('cat', ' cat', 'dog\t'), 1)]
    for number, annotation in enumerate(content['annotations'], 1):
        annotation['category_id'] = number
    dataset, audit, _ = found(written(tmp_path / 'data', content, ['a.png', 'b.png', 'c.png']))
    assert audit.facts['all'].objects == dict(cat=2, dog=1)
    assert sum('is read as' in change for change in dataset.changes) == 2


def test_keypoints_are_read_only_if_there_are_no_instances(tmp_path):
    root = tmp_path / 'data'
    names = ['a.png', 'b.png']
    keypoints = content_of(names, keypoints=[1, 2, 2], num_keypoints=1)
    written(root, keypoints, ['train/a.png', 'train/b.png'], file='a/person_keypoints_train.json')
    dataset, _, counts = found(root)
    assert counts == dict(train=(2, 2))
    assert any('keypoints of 2 objects' in note for note in dataset.notes)
    written(root, content_of(names), [], file='a/instances_train.json')
    dataset, _, counts = found(root)
    assert counts == dict(train=(2, 2)) and not dataset.notes


def test_addresses_of_lvis_name_the_images(tmp_path):
    content = content_of(['a.png'])
    (image,) = content['images']
    image['coco_url'] = 'http://images.example.org/train2017/a.png'
    del image['file_name']
    root = written(tmp_path / 'data', content, ['train2017/a.png'], file='lvis_v1_train.json')
    _, audit, counts = found(root)
    assert counts == dict(train=(1, 1)) and not audit.issues.issues
