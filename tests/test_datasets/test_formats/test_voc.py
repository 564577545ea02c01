"""Pascal VOC datasets in the layouts that tools write, in any encoding that XML declares."""

import pytest
from labelled import SIZE, annotations, contents, image, noted, text, voc, voc_object

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.folders import folders
from casvit_mm.datasets.formats.voc import find

POLYGON = '<polygon><x1>10</x1><y1>12</y1><x2>40</x2><y2>12</y2><x3>40.5</x3><y3>30</y3></polygon>'


def labelled(root, images, files, stems='abc', suffix='.jpg', label='cat'):
    """Images in one folder and their XML files in another."""
    for stem in stems:
        image(root / images / f'{stem}{suffix}')
        path = root / files / f'{stem}.xml'
        text(path, voc(path, voc_object(label), name=f'{stem}{suffix}'))


@pytest.mark.parametrize(
    ('images', 'files'),
    [
        ('JPEGImages', 'Annotations'),
        ('images', 'annotations'),
        ('', ''),
        ('', 'xml'),
        ('pictures of cats', 'boxes'),
        ('train', 'train'),
        ('train/images', 'train/annotations'),
        ('JPEGImages/train', 'Annotations/train'),
        ('VOCdevkit/VOC2007/JPEGImages', 'VOCdevkit/VOC2007/Annotations'),
    ],
)
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.TIF'])
def test_images_are_found_wherever_they_lie(tmp_path, images, files, suffix):
    labelled(tmp_path, images, files, suffix=suffix)
    image(tmp_path / images / f'background{suffix}')
    _, counts, errors = contents(tmp_path)
    split = 'train' if 'train' in images else 'all'
    assert counts == {split: (4, {'cat': 3})} and not errors


def test_the_lists_say_which_images_belong_to_a_split(tmp_path):
    labelled(tmp_path, 'JPEGImages', 'Annotations', 'abcdefg')
    for kind, name, stems in (
        *(('Main', 'train', 'ab'), ('Main', 'val', 'cde'), ('Main', 'trainval', 'abcde')),
        *(('Segmentation', 'train', 'f'), ('Main', 'cat_train', 'abc'), ('Layout', 'train', 'g')),
    ):
        text(tmp_path / f'ImageSets/{kind}/{name}.txt', '\n'.join(stems), newline='\r\n')
    text(tmp_path / 'ImageSets/Main/test.txt', 'gone\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'train': (2, {'cat': 2}), 'val': (3, {'cat': 3})} and not errors
    assert noted(dataset, '2 images left out', 'ImageSets')
    assert noted(dataset, '1 name', 'without an image', "'gone'")


def test_trainval_is_for_training_if_there_is_no_list_called_train(tmp_path):
    labelled(tmp_path, 'JPEGImages', 'Annotations', 'abcd')
    text(tmp_path / 'ImageSets/Main/trainval.txt', 'a\nb\nc\n')
    text(tmp_path / 'ImageSets/Main/test.txt', 'd\n')
    assert contents(tmp_path)[1] == {'train': (3, {'cat': 3}), 'test': (1, {'cat': 1})}


def test_the_export_of_cvat_is_one_unsplit_dataset(tmp_path):
    labelled(tmp_path, 'JPEGImages', 'Annotations')
    text(tmp_path / 'ImageSets/Main/default.txt', 'a\nb\nc\n')
    text(tmp_path / 'labelmap.txt', '# label:color_rgb:parts:actions\ncat:1,2,3::\n')
    assert contents(tmp_path)[1:] == ({'all': (3, {'cat': 3})}, [])


@pytest.mark.parametrize('drawn', ['AnnotationsVisualization', 'SegmentationClassVisualization'])
def test_drawings_of_annotations_are_no_images(tmp_path, drawn):
    labelled(tmp_path, 'JPEGImages', 'Annotations')
    for stem in 'abc':
        image(tmp_path / drawn / f'{stem}.jpg')
        image(tmp_path / 'SegmentationObject' / f'{stem}.png')
    text(tmp_path / 'class_names.txt', '__ignore__\n_background_\ncat\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (3, {'cat': 3})} and not errors
    files = [i['file_name'] for i in dataset.splits['all'].content['images']]
    assert files == ['JPEGImages/a.jpg', 'JPEGImages/b.jpg', 'JPEGImages/c.jpg']


def test_an_image_is_also_found_by_the_name_in_the_file(tmp_path):
    for stem in 'ab':
        image(tmp_path / f'images/photo {stem}.png')
        content = voc('x', voc_object('cat'), name=f'C:\\my\\photo {stem}.png')
        text(tmp_path / f'Annotations/{stem}.xml', content)
    assert contents(tmp_path)[1:] == ({'all': (2, {'cat': 2})}, [])


def test_a_missing_image_is_an_error_of_that_image(tmp_path):
    labelled(tmp_path, 'JPEGImages', 'Annotations')
    path = tmp_path / 'Annotations/gone.xml'
    text(path, voc(path, voc_object('cat')))
    _, counts, (error,) = contents(tmp_path)
    assert error.kind == 'missing-picture' and error.file == str(tmp_path / 'JPEGImages/gone.jpg')
    assert counts == {'all': (4, {'cat': 3})}


def test_files_without_images_are_diagnosed(tmp_path):
    path = tmp_path / 'Annotations/a.xml'
    text(path, voc(path, voc_object('cat'), name='cam1.jpg'))
    with pytest.raises(DatasetError, match='but no images'):
        read_dataset(tmp_path)
    image(tmp_path / 'JPEGImages/other.jpg')
    with pytest.raises(DatasetError, match=r"none belongs.*'cam1\.jpg'.*JPEGImages/other\.jpg"):
        read_dataset(tmp_path)


def test_cvat_for_images_is_not_taken_for_voc(tmp_path):
    image(tmp_path / 'images/a.jpg')
    text(tmp_path / 'annotations.xml', '<annotations><version>1.1</version></annotations>')
    assert find(folders(tmp_path)) == []


def test_other_xml_files_are_left_out(tmp_path):
    labelled(tmp_path, '', '')
    text(tmp_path / '0.xml', '<project/>')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (3, {'cat': 3})} and not errors and noted(dataset, '1 XML file')


@pytest.mark.parametrize(
    ('encoding', 'declared', 'said'),
    [
        ('utf-8', 'utf-8', ''),
        ('utf-8', '', ''),
        ('utf-8-sig', 'utf-8', 'UTF-8 with'),
        ('utf-16', 'utf-16', 'UTF-16'),
        ('utf-16', '', 'UTF-16'),
        ('gbk', 'GBK', 'GBK'),
        ('gbk', 'gb2312', 'GB2312'),
        ('gbk', '', 'GBK'),
        ('gbk', 'utf-8', 'GBK'),
        ('big5', 'Big5', 'BIG5'),
        ('utf-8', 'no-such-thing', ''),
        ('utf-8', 'punycode', ''),
    ],
)
def test_xml_in_any_encoding_is_read(tmp_path, encoding, declared, said):
    image(tmp_path / 'a.jpg')
    content = voc('a.xml', voc_object('三角'), voc_object('cat'), declared=declared)
    path = text(tmp_path / 'a.xml', content, encoding, '\r\n')
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (1, {'cat': 1, '三角': 1})} and not errors
    assert noted(dataset, str(path), 'read as', said) == bool(said)


def test_xml_in_latin_1_is_read(tmp_path):
    image(tmp_path / 'a.jpg')
    text(tmp_path / 'a.xml', voc('a.xml', voc_object('Bär'), declared='ISO-8859-1'), 'latin-1')
    assert contents(tmp_path)[1] == {'all': (1, {'Bär': 1})}


def test_names_with_space_around_them_are_one_class(tmp_path):
    image(tmp_path / 'a.jpg')
    names = ('box', 'box ', '\n tri', 'tri', '\ufeffbox')
    text(tmp_path / 'a.xml', voc('a.xml', *map(voc_object, names)))
    dataset, counts, errors = contents(tmp_path)
    assert counts == {'all': (1, {'box': 3, 'tri': 2})} and not errors
    assert noted(dataset, 'white space', "'box '") and noted(dataset, 'one class', "'box', 'tri'")


def test_boxes_and_polygons_keep_their_coordinates(tmp_path):
    image(tmp_path / 'a.jpg')
    points = '<x1>50</x1><y1>50</y1><x2>70</x2><y2>50</y2><x3>50</x3><y3>60</y3>'
    objects = [
        voc_object('cat', (1, 2.5, 90, 60)),
        voc_object('cat', (40, 30, 10, 12)),
        voc_object('cat', (9, 12, 41, 30), POLYGON),
        f'<object><name>cat</name><polygon>{points}</polygon></object>',
        voc_object('cat', (0, 0, 90, 60), POLYGON),
    ]
    text(tmp_path / 'a.xml', voc('a.xml', *objects))
    found = annotations(contents(tmp_path)[0])['a']
    assert [a['bbox'] for a in found] == [
        [1, 2.5, 89, 57.5],
        [10, 12, 30, 18],
        [10, 12, 30.5, 18],
        [50, 50, 20, 10],
        # A box that disagrees with its polygon stays, for the audit to compare.
        [0, 0, 90, 60],
    ]
    assert found[2]['segmentation'] == [[10, 12, 40, 12, 40.5, 30]]
    assert found[3]['area'] == 100


def test_rotated_boxes_are_read_as_polygons(tmp_path):
    image(tmp_path / 'a.jpg')
    values = dict(cx=48, cy=32, w=20, h=10, angle=0)
    inside = ''.join(f'<{key}>{value}</{key}>' for key, value in values.items())
    content = f'<object><name>ship</name><robndbox>{inside}</robndbox></object>'
    text(tmp_path / 'a.xml', voc('a.xml', content, content.replace('>0<', '>1.5707963267948966<')))
    dataset, counts, errors = contents(tmp_path, 'instance')
    assert (
        counts == {'all': (1, {'ship': 2})}
        and not errors
        and noted(dataset, '2 objects with a rotated box')
    )
    boxes = [a['bbox'] for a in annotations(dataset)['a']]
    assert boxes == [[38, 27, 20, 10], pytest.approx([43, 22, 10, 20])]


def test_boxes_from_0_to_1_are_named(tmp_path):
    for stem in 'ab':
        image(tmp_path / f'{stem}.jpg')
        text(tmp_path / f'{stem}.xml', voc(f'{stem}.xml', voc_object('cat', (0.1, 0.2, 0.5, 1))))
    errors = [e for e in contents(tmp_path)[2] if e.kind == 'normalised-box']
    assert len(errors) == 1 and 'coordinates look normalised' in errors[0].detail
    text(tmp_path / 'b.xml', voc('b.xml', voc_object('cat')))
    assert not [e for e in contents(tmp_path)[2] if e.kind == 'normalised-box']


@pytest.mark.parametrize(
    ('damaged', 'place'),
    [
        ('<object><name>cat</name></object>', 'object[1]'),
        (voc_object(''), 'object[1]'),
        (voc_object(' '), 'object[1]'),
        (voc_object('cat', ('nan', 1, 5, 5)), 'object[1]'),
        (voc_object('cat', ('1,5', 1, 5, 5)), 'object[1]'),
        (voc_object('cat', (0, 0, '1e308', 5)), 'object[1]'),
        (voc_object('cat').replace('xmin', 'left'), 'object[1]'),
        (voc_object('cat', more='<polygon><x1>1</x1><y1>1</y1></polygon>'), 'object[1]'),
        (voc_object('cat', more=POLYGON.replace('y2', 'z2')), 'object[1]'),
        ('<object>', ''),
        ('\x00', ''),
        ('&lol;', ''),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_object(tmp_path, damaged, place):
    labelled(tmp_path, '', '', 'ab')
    path = tmp_path / 'c.xml'
    image(tmp_path / 'c.jpg')
    text(path, voc(path, voc_object('cat'), damaged, voc_object('cat')))
    _, counts, (error,) = contents(tmp_path)
    assert (error.kind, error.file, error.record) == ('unreadable-annotation', str(path), place)
    assert counts == {'all': (3, {'cat': 4 if place else 2})}


def test_entities_are_never_expanded(tmp_path):
    image(tmp_path / 'a.jpg')
    image(tmp_path / 'b.jpg')
    levels = ''.join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "ha">{levels}]>' + voc('a.xml', voc_object('&e9;'))
    text(tmp_path / 'a.xml', bomb)
    file = f'<!DOCTYPE x [<!ENTITY f SYSTEM "{tmp_path}/a.xml">]>' + voc('b.xml', voc_object('&f;'))
    text(tmp_path / 'b.xml', file)
    _, counts, errors = contents(tmp_path)
    assert counts == {'all': (2, {})}
    details = {error.detail for error in errors if error.kind == 'unreadable-annotation'}
    assert len(details) == 2 and all('entities' in detail for detail in details)


@pytest.mark.parametrize('side', ['0', 'unknown', '1e308', '-5', ''])
def test_a_size_that_the_file_does_not_know_is_read_from_the_image(tmp_path, side):
    image(tmp_path / 'a.jpg')
    text(tmp_path / 'a.xml', voc('a.xml', voc_object('cat'), size=(side, 64)))
    (record,) = contents(tmp_path)[0].splits['all'].content['images']
    assert (record['width'], record['height']) == SIZE


def test_flags_are_said(tmp_path):
    labelled(tmp_path, '', '')
    flagged = voc_object('cat', more='<difficult>1</difficult><truncated>0</truncated>')
    text(tmp_path / 'a.xml', voc('a.xml', flagged))
    dataset = contents(tmp_path)[0]
    assert noted(dataset, "1 object with the flag 'difficult'") and not noted(dataset, 'truncated')


def test_a_missing_defusedxml_is_named_with_its_extra(tmp_path, monkeypatch):
    labelled(tmp_path, '', '')
    monkeypatch.setitem(__import__('sys').modules, 'defusedxml', None)
    with pytest.raises(DatasetError, match=r'defusedxml.*casvit-mm\[data\]'):
        read_dataset(tmp_path)
