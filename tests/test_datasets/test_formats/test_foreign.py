"""Datasets in the formats of other tools are read by datumaro, with every object in its place."""

import json
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import foreign
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.foreign import read
from casvit_mm.datasets.issues import Severity

pytest.importorskip('datumaro', reason='needs the extra formats')
ANNOTATIONS = ('.xml', '.json', '.csv', '.txt', '.ini')
PARTS = re.compile(rb'-?\d+\.?\d*|[\w"<>{}\[\],:]')
BREAKING = (
    *(b'', b'nan', b'inf', b'1e308', b'-1', b'99999999999999999999', b'null', b'[]', b'{}'),
    *(b'"x"', b'\0', b'\xff\xfe', b'..', b'/etc/passwd', b'<x>', b'"', b'\n'),
)
WRITTEN = ('cvat', 'datumaro', 'open_images', 'label_me', 'kitti_detection', 'wider_face')
POLYGON = [[[5, 5, 30, 8, 20, 40]]]
WITH_POLYGONS = ('cvat', 'datumaro', 'label_me')
WITH_MASKS = (*WITH_POLYGONS, 'open_images')


def objects(dataset):
    """The objects of a dataset: split, file name, class, and box, sorted."""
    found = []
    for split, part in dataset.splits.items():
        names = {category['id']: category['name'] for category in part.content['categories']}
        files = {record['id']: part.image(record) for record in part.content['images']}
        assert all(path.is_file() for path in files.values())
        for a in part.content['annotations']:
            box = tuple(round(value, 1) for value in a['bbox'])
            found.append((split, files[a['image_id']].name, names[a['category_id']], box))
    return sorted(found)


@pytest.mark.parametrize('name', foreign.READ)
def test_a_dataset_is_read_with_every_object_in_its_place(name, tmp_path):
    expected = foreign.READ[name](tmp_path)
    dataset = read(tmp_path)
    assert dataset.format == name
    assert objects(dataset) == sorted(expected)
    audit = audit_objects(dataset, progress=False)
    assert [str(issue) for issue in audit.issues.of(Severity.ERROR)] == []


@pytest.mark.parametrize(
    ('name', 'note'),
    [
        ('KITTI', "1 annotation marked as 'DontCare'"),
        ('WIDER Face', "1 annotation marked as 'invalid'"),
        ('MOT', "1 annotation marked as 'ignored'"),
        ('DOTA', '2 rotated box'),
        ('VoTT JSON', '1 path of images not there'),
    ],
)
def test_what_is_left_out_or_changed_is_said(name, note, tmp_path):
    foreign.READ[name](tmp_path)
    assert any(note in said for said in read(tmp_path).notes), read(tmp_path).notes


def test_a_group_of_objects_in_one_box_is_a_crowd(tmp_path):
    foreign.open_images(tmp_path)
    annotations = read(tmp_path).splits['train'].content['annotations']
    assert [a['iscrowd'] for a in annotations] == [0, 1]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """The same images and objects in several formats, written by datumaro itself."""
    from datumaro.components.annotation import (
        Bbox,
        Caption,
        Label,
        Mask,
        Points,
        Polygon,
        PolyLine,
    )
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    base = tmp_path_factory.mktemp('written')
    blob = np.zeros((foreign.HEIGHT, foreign.WIDTH), bool)
    blob[30:50, 40:70] = True
    items: dict[bool, list] = {False: [], True: []}
    for split, count in (('train', 3), ('val', 2)):
        for number in range(count):
            name = f'{split}_{number}'
            path = foreign.image(base / f'{name}.jpg')
            boxes = [
                Bbox(10 + number, 10, 20, 20, label=0, id=1, attributes=dict(occluded=True)),
                Bbox(50, 20, 30, 24, label=1, id=2),
            ]
            shapes = [Polygon([5, 5, 30, 8, 20, 40], label=1, id=3), Mask(blob, label=0, id=4)]
            others = [Label(0), PolyLine([1, 1, 9, 9], label=0), Points([5, 5], label=1)]
            for shaped in items:
                annotations = [*boxes, *(shapes + others + [Caption('a scene')] if shaped else [])]
                media = Image.from_file(path=str(path))
                item = DatasetItem(id=name, subset=split, media=media, annotations=annotations)
                items[shaped].append(item)
    for name in WRITTEN:
        dataset = Dataset.from_iterable(items[name in WITH_MASKS], categories=['cat', 'face'])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            dataset.export(str(base / name), name, save_media=True)
    return base


@pytest.mark.parametrize('name', WRITTEN)
def test_what_the_library_writes_is_read_with_the_same_objects(name, written):
    dataset = read(written / name)
    expected = []
    for split, count in (('train', 3), ('val', 2)):
        for number in range(count):
            file = f'{split}_{number}.jpg'
            expected += [
                (split, file, 'cat', (10 + number, 10, 20, 20)),
                (split, file, 'face', (50, 20, 30, 24)),
            ]
            if name in WITH_POLYGONS:
                expected.append((split, file, 'face', (5, 5, 25, 35)))
            if name in WITH_MASKS:
                expected.append((split, file, 'cat', (40, 30, 30, 20)))
    assert objects(dataset) == sorted(expected)
    assert dataset.issues.issues == []


@pytest.mark.parametrize('task', [None, 'detection'])
@pytest.mark.parametrize('name', WRITTEN)
def test_the_check_detects_what_the_library_wrote(name, task, written):
    """Also those that have images of masks, or resemble COCO or Pascal VOC."""
    dataset = read_dataset(written / name, task)
    assert dataset.format == read(written / name).format
    assert objects(dataset) == objects(read(written / name))


@pytest.mark.parametrize('name', WITH_MASKS)
def test_polygons_stay_polygons_and_masks_become_run_lengths(name, written):
    annotations = read(written / name).splits['train'].content['annotations']
    polygons = [a for a in annotations if isinstance(a.get('segmentation'), list)]
    masks = [a for a in annotations if isinstance(a.get('segmentation'), dict)]
    assert [a['segmentation'] for a in polygons] == POLYGON * (3 * (name in WITH_POLYGONS))
    assert all(a['area'] == 415 for a in polygons)
    for a in masks:
        pixels = rle.decode(dict(a['segmentation'], counts=a['segmentation']['counts'].encode()))
        assert pixels.shape == (foreign.HEIGHT, foreign.WIDTH)
        assert pixels[30:50, 40:70].all() and pixels.sum() == a['area'] == 600
    assert len(masks) == 3


def test_annotations_that_are_not_objects_are_counted(written):
    notes = read(written / 'datumaro').notes
    assert notes[0].startswith(
        'Left out: 5 captions, 5 image labels, 5 keypoint annotations, 5 polylines.'
    )
    assert notes[1] == "Attributes left out: 'occluded'."


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta>{meta}</meta>{images}</annotations>"""
LABELS = '<labels><label><name>cat</name></label><label><name>dog</name></label></labels>'
BOX = '<box label="cat" occluded="0" xtl="10" ytl="12" xbr="40" ybr="32" z_order="0"></box>'


def cvat(path, *images, kind='task'):
    """Writes CVAT's XML; images are pairs of attributes and shapes."""
    size = f'width="{foreign.WIDTH}" height="{foreign.HEIGHT}"'
    inside = ''.join(
        f'<image id="{number}" {named} {size}>{shapes}</image>'
        for number, (named, shapes) in enumerate(images)
    )
    return foreign.text(path, CVAT.format(meta=f'<{kind}>{LABELS}</{kind}>', images=inside))


@pytest.mark.parametrize('kind', ['task', 'project', 'job'])
@pytest.mark.parametrize('folder', ['images', '', 'images/default', 'elsewhere'])
def test_images_of_cvat_are_found_wherever_they_lie(kind, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'data'
    for name in ('a.jpg', 'b.jpg'):
        foreign.image(root / folder / name)
    cvat(root / 'annotations.xml', ('name="a.jpg"', BOX), ('name="b.jpg"', ''), kind=kind)
    for place in (root, Path('data')):
        dataset = read(place)
        assert objects(dataset) == [('all', 'a.jpg', 'cat', (10, 12, 30, 20))]
        assert len(dataset.splits['all'].content['images']) == 2
        assert dataset.issues.issues == []
        categories = dataset.splits['all'].content['categories']
        assert [category['name'] for category in categories] == ['cat', 'dog']


def test_subsets_of_cvat_are_splits_even_if_images_have_the_same_name(tmp_path):
    for split in ('Train', 'Validation'):
        foreign.image(tmp_path / f'images/{split}/a.jpg')
    polygon = '<polygon label="dog" points="5,5;30,8;20,40" z_order="0"></polygon>'
    cvat(
        tmp_path / 'annotations.xml',
        ('name="a.jpg" subset="Train"', BOX + polygon),
        ('name="a.jpg" subset="Validation"', polygon),
        kind='project',
    )
    dataset = read(tmp_path)
    assert objects(dataset) == [
        ('train', 'a.jpg', 'cat', (10, 12, 30, 20)),
        ('train', 'a.jpg', 'dog', (5, 5, 25, 35)),
        ('val', 'a.jpg', 'dog', (5, 5, 25, 35)),
    ]
    files = {name: part.content['images'][0]['file_name'] for name, part in dataset.splits.items()}
    assert files == dict(train='images/Train/a.jpg', val='images/Validation/a.jpg')


def test_the_subset_of_a_task_of_cvat_is_its_split(tmp_path):
    foreign.image(tmp_path / 'images/a.jpg')
    path = cvat(tmp_path / 'annotations.xml', ('name="a.jpg"', BOX))
    path.write_text(path.read_text().replace('<task>', '<task><subset>Validation</subset>'))
    assert objects(read(tmp_path)) == [('val', 'a.jpg', 'cat', (10, 12, 30, 20))]


def test_shapes_of_cvat_that_no_box_or_polygon_holds_are_counted(tmp_path):
    foreign.image(tmp_path / 'images/a.jpg')
    shapes = (
        '<ellipse label="cat" cx="9" cy="9" rx="3" ry="3"></ellipse>'
        '<cuboid label="cat" xtl1="1"></cuboid>'
        '<polyline label="cat" points="1,1;5,5"></polyline>'
        '<tag label="dog"></tag>'
        '<box label="dog" xtl="20" ytl="10" xbr="60" ybr="30" rotation="90"></box>'
    )
    cvat(tmp_path / 'annotations.xml', ('name="a.jpg"', shapes))
    dataset = read(tmp_path)
    assert objects(dataset) == [('all', 'a.jpg', 'dog', (30, 0, 20, 40))]
    assert dataset.notes[0].startswith('Left out: 1 cuboid, 1 ellipse, 1 image label, 1 polyline.')


def test_a_track_of_cvat_is_an_object_in_every_frame_that_shows_it(tmp_path):
    for frame in range(3):
        foreign.image(tmp_path / f'images/frame_{frame:06d}.PNG'.replace('PNG', 'png'))
    track = ''.join(
        f'<box frame="{frame}" outside="{int(frame == 2)}" occluded="0" keyframe="1" xtl="10" '
        f'ytl="12" xbr="40" ybr="32" z_order="0"></box>'
        for frame in range(3)
    )
    size = f'<original_size><width>{foreign.WIDTH}</width><height>{foreign.HEIGHT}</height>'
    meta = f'<task>{LABELS}<mode>interpolation</mode>{size}</original_size></task>'
    images = f'<track id="0" label="cat" source="manual">{track}</track>'
    foreign.text(tmp_path / 'annotations.xml', CVAT.format(meta=meta, images=images))
    dataset = read(tmp_path)
    assert dataset.format == 'CVAT for video 1.1'
    assert objects(dataset) == [
        ('all', f'frame_{frame:06d}.png', 'cat', (10, 12, 30, 20)) for frame in (0, 1)
    ]
    assert "Left out: 1 annotation marked as 'outside'." in dataset.notes


def test_polygons_of_one_group_and_class_are_one_object(tmp_path):
    foreign.image(tmp_path / 'images/a.jpg')
    shapes = ''.join(
        f'<polygon label="cat" group_id="1" points="{x},5;{x + 9},5;{x},14"></polygon>'
        for x in (5, 25)
    )
    cvat(tmp_path / 'annotations.xml', ('name="a.jpg"', shapes))
    (annotation,) = read(tmp_path).splits['all'].content['annotations']
    assert annotation['segmentation'] == [[5, 5, 14, 5, 5, 14], [25, 5, 34, 5, 25, 14]]
    assert annotation['bbox'] == [5, 5, 29, 9] and annotation['area'] == 81


def test_a_missing_image_is_an_error_of_that_image_only(tmp_path):
    foreign.image(tmp_path / 'images/a.jpg')
    cvat(tmp_path / 'annotations.xml', ('name="a.jpg"', BOX), ('name="gone.jpg"', BOX))
    audit = audit_objects(read(tmp_path), progress=False)
    (issue,) = audit.issues.of(Severity.ERROR)
    assert issue.kind == 'missing-picture' and 'gone.jpg' in str(issue)


@pytest.mark.parametrize('path', ['../secret.jpg', '/etc/secret.jpg', 'images/../../secret.jpg'])
def test_an_image_outside_the_dataset_is_not_read(path, tmp_path):
    root = tmp_path / 'data'
    foreign.image(root / 'images/a.jpg')
    foreign.image(tmp_path / 'secret.jpg')
    cvat(root / 'annotations.xml', ('name="a.jpg"', BOX), (f'name="{path}"', BOX))
    dataset = read(root)
    assert objects(dataset) == [('all', 'a.jpg', 'cat', (10, 12, 30, 20))]
    (issue,) = dataset.issues.of(Severity.ERROR)
    assert issue.record == path and 'outside the dataset' in issue.detail


def test_paths_out_of_a_sequence_or_a_list_are_not_followed(tmp_path):
    foreign.mot(tmp_path / 'mot')
    info = tmp_path / 'mot/train/MOT17-02/seqinfo.ini'
    info.write_text(info.read_text().replace('imDir=img1', 'imDir=../../../elsewhere'))
    for frame in (1, 2):
        foreign.image(tmp_path / f'elsewhere/{frame:06d}.jpg')
    dataset = read(tmp_path / 'mot')
    names = [image['file_name'] for image in dataset.splits['train'].content['images']]
    assert names == [f'train/MOT17-02/img1/{frame:06d}.jpg' for frame in (1, 2)]

    foreign.vott_csv(tmp_path / 'vott')
    path = next((tmp_path / 'vott').rglob('*.csv'))
    path.write_text(path.read_text().replace('b.jpg', '../../elsewhere/000001.jpg'))
    with pytest.raises(DatasetError, match='VoTT CSV, but datumaro cannot read it'):
        read(tmp_path / 'vott')


def test_a_damaged_file_is_a_sentence(tmp_path):
    cases = {
        'CVAT': cvat(tmp_path / 'cvat/annotations.xml', ('name="a.jpg"', BOX)),
        'KITTI': foreign.text(tmp_path / 'kitti/training/label_2/0.txt', 'Car ' + '1 ' * 14),
    }
    cases['CVAT'].write_text(cases['CVAT'].read_text()[:-40])
    cases['KITTI'].write_text(cases['KITTI'].read_text() + '\n1 2 3\n' * 5)
    foreign.dota(tmp_path / 'dota')
    next((tmp_path / 'dota').rglob('*.png')).unlink()
    with pytest.raises(DatasetError, match=r"looks like DOTA, but .*: 'P0001' is not there"):
        read(tmp_path / 'dota')
    with pytest.raises(DatasetError, match=r'annotations\.xml looks like CVAT for images'):
        read(tmp_path / 'cvat')
    assert read(tmp_path / 'kitti') is None, 'no diagnosis is better than a wrong one'


@pytest.mark.parametrize(
    'mask', ['rle="1,2" left="0" top="0" width="99999" height="99999"', 'rle="4294967295,1" '
             'left="0" top="0" width="2" height="2"']
)  # fmt: skip
def test_a_mask_that_no_image_has_is_not_allocated(mask, tmp_path):
    foreign.image(tmp_path / 'images/a.jpg')
    shape = f'<mask label="cat" {mask} z_order="0"></mask>'
    cvat(tmp_path / 'annotations.xml', ('name="a.jpg"', shape + BOX))
    try:
        dataset = read(tmp_path)
    except DatasetError as error:
        assert 'no image has' in str(error)
    else:
        (issue,) = dataset.issues.of(Severity.ERROR)
        assert issue.kind == 'unreadable-annotation'
        assert len(objects(dataset)) == 1


def test_run_lengths_reach_no_c_code_before_they_are_checked(written, tmp_path):
    """As text in a damaged file may have them: the process would be aborted."""
    root = shutil.copytree(written / 'datumaro', tmp_path / 'datumaro')
    path = root / 'annotations/train.json'
    content = json.loads(path.read_text())
    for item in content['items']:
        for a in item['annotations']:
            if a['type'] == 'mask':
                a['rle']['counts'] = "b'P0`k'"
    path.write_text(json.dumps(content))
    audit = audit_objects(read(root), masks=True, progress=False)
    assert any(issue.kind == 'broken-mask' for issue in audit.issues.of(Severity.ERROR))


def test_a_video_of_impossible_length_is_refused(tmp_path):
    foreign.mot(tmp_path)
    info = next(tmp_path.rglob('seqinfo.ini'))
    info.write_text(info.read_text().replace('seqLength=2', 'seqLength=99999999999'))
    with pytest.raises(DatasetError, match='seqLength'):
        read(tmp_path)


def test_two_formats_in_one_folder_are_named(tmp_path):
    foreign.kitti(tmp_path)
    foreign.vott_csv(tmp_path)
    with pytest.raises(DatasetError, match=r'more than one format: VoTT CSV \(.*\), KITTI \('):
        read(tmp_path)


def test_a_pickle_next_to_a_dataset_is_never_loaded(tmp_path):
    mark = tmp_path / 'ran'
    expected = foreign.kitti(tmp_path / 'data')
    foreign.pickled(tmp_path / 'data', mark)
    assert objects(read(tmp_path / 'data')) == expected
    assert not mark.exists()


def test_semantic_segmentation_is_refused_with_the_tasks_that_fit(tmp_path):
    foreign.kitti(tmp_path)
    with pytest.raises(DatasetError, match='use --task detection or --task instance'):
        read(tmp_path, 'semantic')


@pytest.mark.long
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from([*foreign.READ, 'cvat', 'datumaro']))
def test_damaged_files_are_read_or_refused_with_a_sentence(data, name, written):
    """Numbers and pieces of the annotations are replaced by what breaks parsers."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'data'
        if name in foreign.READ:
            foreign.READ[name](root)
        else:
            shutil.copytree(written / name, root)
        files = sorted(p for p in root.rglob('*') if p.suffix in ANNOTATIONS)
        path = files[data.draw(st.integers(0, len(files) - 1))]
        content = path.read_bytes()
        for _ in range(data.draw(st.integers(1, 4))):
            places = [found.span() for found in PARTS.finditer(content)] or [(0, 0)]
            start, end = data.draw(st.sampled_from(places))
            end += data.draw(st.sampled_from((0, 0, 0, 5, 40)))
            content = content[:start] + data.draw(st.sampled_from(BREAKING)) + content[end:]
        path.write_bytes(content)
        try:
            dataset = read(root)
        except DatasetError:
            return
        if dataset is not None:
            audit_objects(dataset, masks=True, progress=False, read_images=False)


def test_nothing_is_printed(tmp_path, capfd, recwarn):
    foreign.open_images(tmp_path)
    (tmp_path / 'images/validation/bb.jpg').unlink()
    read(tmp_path)
    assert capfd.readouterr() == ('', '')
    assert not [w for w in recwarn if 'datumaro' in str(w.filename)]


def test_the_made_cvat_dataset_is_read(photographs):
    root = Path(photographs) / 'awkward/cvat_xml'
    if not root.is_dir():
        pytest.skip('the folder awkward is not there')
    box = ('cat', (10, 10, 30, 30))
    assert objects(read(root)) == [('all', f'a{number}.jpg', *box) for number in range(3)]
