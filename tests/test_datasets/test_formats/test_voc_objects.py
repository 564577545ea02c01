"""Instance masks from VOC's SegmentationObject and SegmentationClass."""

import numpy as np
import pytest
from pycocotools import mask as rle
from semantic_data import HEIGHT, WIDTH, write_mask, write_photo

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.folders import folders
from casvit_mm.datasets.formats.semantic import voc_objects
from casvit_mm.datasets.issues import Severity


def write(root, name, objects, classes=None, number=0):
    write_photo(root / f'JPEGImages/{name}.jpg', number)
    write_mask(root / f'SegmentationObject/{name}.png', objects, 'P')
    if classes is not None:
        write_mask(root / f'SegmentationClass/{name}.png', classes, 'P')


def two_objects():
    """A large object of class 8 with void borders, and a smaller one of class 12 in two parts."""
    objects, classes = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    objects[2:20, 3:23], classes[2:20, 3:23] = 1, 8
    objects[22:28, 30:36], objects[22:28, 40:44] = 2, 2
    classes[22:28, 30:44] = 12 * (objects[22:28, 30:44] > 0)
    classes[22, 30] = 8
    for labels in (objects, classes):
        labels[2, 3:23] = labels[19, 3:23] = 255
    return objects, classes


def read(root):
    return voc_objects.read(root, voc_objects.find(folders(root)))


@pytest.mark.parametrize('inside', ['', 'VOC2012'])
def test_an_object_is_one_value_and_its_class_the_most_frequent_there(tmp_path, inside):
    root = tmp_path / inside
    names = ['2007_000001', '2008_000002', '2009_000003', '2010_000004']
    objects, classes = two_objects()
    for number, name in enumerate(names):
        write(root, name, objects, classes, number)
    write_photo(root / 'JPEGImages/2011_000009.jpg')
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('\n'.join(names[:3]))
    (lists / 'val.txt').write_text(names[3])

    dataset = read(tmp_path)
    assert {name: len(s.content['images']) for name, s in dataset.splits.items()} == {
        'train': 3,
        'val': 1,
    }
    content = dataset.splits['val'].content
    named = {category['id']: category['name'] for category in content['categories']}
    first, second = content['annotations']
    assert [named[a['category_id']] for a in (first, second)] == ['cat', 'dog']
    assert first['bbox'] == [3, 3, 20, 16] and second['bbox'] == [30, 22, 14, 6]
    assert (first['area'], second['area']) == (20 * 16, 36 + 24)
    assert np.array_equal(rle.decode(first['segmentation']), objects == 1)
    audit = audit_objects(dataset, masks=True, progress=False)
    assert not audit.issues.of(Severity.ERROR)
    assert audit.facts['train'].objects['dog'] == 3


def test_own_class_names_are_read_and_ignored_regions_are_no_objects(tmp_path):
    objects, classes = two_objects()
    objects[0, :10] = 255
    classes[0, :10] = 255
    write(tmp_path, 'a', objects, np.where(classes == 12, 2, np.where(classes == 8, 1, classes)))
    (tmp_path / 'labels.txt').write_text('__ignore__\n_background_\nleaf\nflower\n')
    dataset = read(tmp_path)
    (split,) = dataset.splits.values()
    names = [category['name'] for category in split.content['categories']]
    assert names == ['leaf', 'flower'] and len(split.content['annotations']) == 2
    assert any('__ignore__' in note for note in dataset.notes)


def test_masks_that_do_not_fit_are_issues_and_the_image_is_no_background(tmp_path):
    objects, classes = two_objects()
    write(tmp_path, 'a', objects, classes)
    write(tmp_path, 'b', objects, classes[:, :-1])
    write(tmp_path, 'c', objects)
    write(tmp_path, 'd', objects, np.where(objects == 2, 0, classes))
    issues = read(tmp_path).issues.issues
    assert [issue.kind for issue in issues] == ['unreadable-annotation'] * 3
    assert '48x32 pixels, its mask of classes 47x32' in str(issues[0])
    assert 'does not exist' in str(issues[1])
    assert 'value 2 has no class' in str(issues[2])


def test_other_folders_are_not_taken_for_it(tmp_path):
    write_photo(tmp_path / 'JPEGImages/a.jpg')
    assert voc_objects.find(folders(tmp_path)) == []
    (tmp_path / 'SegmentationObject').mkdir()
    (tmp_path / 'SegmentationClass').mkdir()
    with pytest.raises(DatasetError, match=r'No image in .* has masks of the same name'):
        read(tmp_path)
