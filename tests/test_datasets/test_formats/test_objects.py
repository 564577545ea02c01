"""The same photographs in many formats give the same dataset, as far as a format can store it."""

import json
import shutil
from pathlib import Path

import exported
import pytest
from labelled import annotations as annotations_of
from labelled import contents, labelme, shape, text, voc, voc_object

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity

pytest.importorskip('supervision')

IMAGES = dict(train=(80, 33), val=(79, 27))
WHOLE = dict(train=dict(person=172, chair=47, bottle=22), val=dict(person=118, chair=24, bottle=31))
# VOC and YOLO store one polygon per object: each part of an occluded object becomes an object.
SPLIT = dict(train=dict(person=231, chair=58, bottle=22), val=dict(person=133, chair=27, bottle=33))
EXPECTED = {
    'coco': ('COCO', WHOLE, 7),
    'roboflow': ('COCO', WHOLE, 7),
    'voc': ('Pascal VOC', SPLIT, 0),
    'voc devkit': ('Pascal VOC', SPLIT, 0),
    'yolo': ('YOLO', SPLIT, 0),
    'labelme': ('LabelMe', WHOLE, 0),
}


@pytest.fixture(scope='module')
def folders(photographs, tmp_path_factory):
    base = tmp_path_factory.mktemp('exported')
    made = dict(coco=exported.as_coco(photographs, base / 'coco'))
    for name, export in exported.EXPORTS.items():
        made[name] = export(made['coco'], base / name)
    return made


@pytest.mark.parametrize('name', EXPECTED)
def test_every_format_gives_the_expected_images_and_objects(folders, name):
    kind, objects, crowds = EXPECTED[name]
    dataset = read_dataset(folders[name])
    assert dataset.format == kind
    audit = audit_objects(dataset, masks=True, progress=False)
    assert audit.issues.of(Severity.ERROR) == []
    assert audit.issues.counts().get('crowd', 0) == crowds
    assert {n: (f.images, f.empty) for n, f in audit.facts.items()} == IMAGES
    assert {n: f.objects for n, f in audit.facts.items()} == objects
    noted = any('crowd' in note for note in dataset.notes)
    assert noted == (kind != 'COCO'), 'a note says what a format cannot store'


@pytest.mark.parametrize('name', ['voc', 'yolo', 'labelme'])
def test_boxes_and_masks_keep_their_place(folders, name):
    """Every COCO object with a single polygon is found, its box within a pixel or two."""
    wanted = read_dataset(folders['coco']).splits['val'].content
    found = read_dataset(folders[name]).splits['val'].content
    names = {c['id']: c['name'] for c in found['categories']}
    stems = {i['id']: Path(i['file_name']).stem for i in found['images']}
    boxes = {}
    for a in found['annotations']:
        boxes.setdefault((stems[a['image_id']], names[a['category_id']]), []).append(a['bbox'])
    names = {c['id']: c['name'] for c in wanted['categories']}
    stems = {i['id']: Path(i['file_name']).stem for i in wanted['images']}
    single = [
        a for a in wanted['annotations']
        if len(a['segmentation']) == 1 and not a['iscrowd'] and min(a['bbox'][2:]) > 8
    ]  # fmt: skip
    assert len(single) > 100
    near = 0
    for a in single:
        others = boxes[stems[a['image_id']], names[a['category_id']]]
        near += any(
            max(abs(p - q) for p, q in zip(a['bbox'], b, strict=True)) <= 2.5 for b in others
        )
    assert near / len(single) > 0.97


def written_exactly(coco, kind, out):
    """Writes the polygons of COCO with all digits; one object per polygon, or grouped."""
    content = json.loads((coco / 'annotations/instances_val.json').read_text())
    names = {c['id']: c['name'] for c in content['categories']}
    order = sorted(names.values())
    shutil.copytree(coco / 'val', out / 'val')
    for record in content['images']:
        stem, size = Path(record['file_name']).stem, (record['width'], record['height'])
        parts = [
            (names[a['category_id']], a['id'], polygon)
            for a in content['annotations']
            if a['image_id'] == record['id'] and not a['iscrowd']
            for polygon in a['segmentation']
        ]
        if kind == 'yolo':
            lines = [
                ' '.join(
                    [str(order.index(name)), *(repr(v / size[i % 2]) for i, v in enumerate(p))]
                )
                for name, _, p in parts
            ]
            text(out / f'val/{stem}.txt', '\n'.join(lines))
        elif kind == 'voc':
            objects = []
            for name, _, p in parts:
                corners = zip(p[::2], p[1::2], strict=True)
                points = ''.join(
                    f'<x{n}>{x}</x{n}><y{n}>{y}</y{n}>' for n, (x, y) in enumerate(corners)
                )
                box = (min(p[::2]), min(p[1::2]), max(p[::2]), max(p[1::2]))
                objects.append(voc_object(name, box, f'<polygon>{points}</polygon>'))
            text(out / f'val/{stem}.xml', voc(f'{stem}.xml', *objects, size=size))
        else:
            shapes = [
                shape(name, list(map(list, zip(p[::2], p[1::2], strict=True))), group_id=key)
                for name, key, p in parts
            ]
            text(out / f'val/{stem}.json', labelme(record['file_name'], *shapes, size=size))
    if kind == 'yolo':
        text(out / 'classes.txt', '\n'.join(order))
    return content, names


@pytest.mark.parametrize('kind', ['voc', 'yolo', 'labelme'])
def test_every_polygon_is_read_as_it_was_written(folders, tmp_path, kind):
    content, names = written_exactly(folders['coco'], kind, tmp_path)
    wanted = {}
    stems = {i['id']: Path(i['file_name']).stem for i in content['images']}
    for a in content['annotations']:
        if not a['iscrowd']:
            objects = [a['segmentation']] if kind == 'labelme' else [[p] for p in a['segmentation']]
            wanted.setdefault(stems[a['image_id']], []).extend(
                (names[a['category_id']], polygons) for polygons in objects
            )
    dataset, _, errors = contents(tmp_path, 'instance')
    assert not errors and sum(map(len, wanted.values())) > 150
    labels = {c['id']: c['name'] for c in dataset.splits['val'].content['categories']}
    found = {
        stem: [(labels[a['category_id']], a['segmentation']) for a in annotations]
        for stem, annotations in annotations_of(dataset).items()
        if annotations
    }
    assert found.keys() == wanted.keys()
    for stem, objects in wanted.items():
        for (name, polygons), (other, read) in zip(objects, found[stem], strict=True):
            # The shares of YOLO are rounded to the last digit of a float.
            close = [pytest.approx(p, rel=1e-12) if kind == 'yolo' else p for p in polygons]
            assert (name, close) == (other, read)


def test_one_file_for_all_images_is_an_unsplit_dataset(folders):
    dataset = read_dataset(folders['label studio'])
    assert list(dataset.splits) == ['all']
    audit = audit_objects(dataset, progress=False)
    assert audit.facts['all'].objects == WHOLE['train']
    assert audit.issues.of(Severity.ERROR) == []


def test_a_single_coco_file_can_be_read(folders):
    dataset = read_dataset(folders['coco'] / 'annotations/instances_val.json')
    assert list(dataset.splits) == ['val']
    assert audit_objects(dataset, progress=False).facts['val'].objects == WHOLE['val']


def test_a_damaged_file_is_named_and_the_others_are_read(folders, tmp_path):
    places = {
        'voc': ('train/*.xml', lambda text: text[: len(text) // 2], ''),
        'yolo': ('labels/train/*.txt', lambda text: 'many words here in a line\n' + text, 'line 1'),
        'labelme': ('train/*.json', lambda text: text.replace('"shapes"', '"forms"'), ''),
    }
    for name, (pattern, damage, where) in places.items():
        root = tmp_path / name
        shutil.copytree(folders[name], root)
        path = next(p for p in sorted(root.glob(pattern)) if len(p.read_text()) > 600)
        path.write_text(damage(path.read_text()))
        audit = audit_objects(read_dataset(root), read_images=False)
        (issue,) = audit.issues.of(Severity.ERROR)
        assert (issue.kind, issue.file, issue.record) == ('unreadable-annotation', str(path), where)
        assert sum(f.images for f in audit.facts.values()) == 159


def test_a_yolo_class_without_a_name_is_named_by_file_and_line(folders, tmp_path):
    root = tmp_path / 'yolo'
    shutil.copytree(folders['yolo'], root)
    path = sorted(root.glob('labels/val/*.txt'))[0]
    path.write_text(path.read_text().rstrip('\n') + '\n9 0.5 0.5 0.1 0.1\n')
    (issue,) = audit_objects(read_dataset(root), read_images=False).issues.of(Severity.ERROR)
    assert issue.kind == 'unknown-category' and issue.file == str(path)
    assert issue.record == f'line {len(path.read_text().splitlines())}'
    assert 'class 9, but only 3 are named' in issue.detail


def test_an_issue_with_a_converted_object_names_its_original_file(folders, tmp_path):
    root = tmp_path / 'yolo'
    shutil.copytree(folders['yolo'], root)
    path = sorted(root.glob('labels/val/*.txt'))[0]
    path.write_text('0 0.5 0.5 0.0 0.1\n')
    audit = audit_objects(read_dataset(root), read_images=False)
    (issue,) = audit.issues.of(Severity.ERROR)
    assert (issue.kind, issue.file, issue.record) == ('empty-box', str(path), 'line 1')


def test_a_folder_without_a_known_format_is_explained(tmp_path):
    with pytest.raises(DatasetError, match='does not exist'):
        read_dataset(tmp_path / 'nowhere')
    (tmp_path / 'readme.md').write_text('hello')
    with pytest.raises(DatasetError, match=r"files that end in '\.md'.*Known are COCO"):
        read_dataset(tmp_path)


def test_a_folder_with_two_formats_needs_a_choice(folders, tmp_path):
    root = tmp_path / 'both'
    shutil.copytree(folders['coco'], root)
    for split in ('train', 'val'):
        for path in (folders['voc'] / split).glob('*.xml'):
            shutil.copyfile(path, root / split / path.name)
    with pytest.raises(DatasetError, match='more than one format: coco, voc'):
        read_dataset(root)
    assert read_dataset(root, kind='voc').format == 'Pascal VOC'
    with pytest.raises(DatasetError, match='no yolo dataset'):
        read_dataset(root, kind='yolo')


def test_missing_images_are_an_error_that_lists_the_searched_folders(tmp_path):
    content = dict(
        images=[dict(id=1, file_name='a.jpg', width=3, height=3)],
        annotations=[],
        categories=[dict(id=1, name='cat')],
    )
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"None of the images .* such as 'a\.jpg'"):
        read_dataset(tmp_path)
