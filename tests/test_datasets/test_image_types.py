"""Datasets of images of every type are read, checked, repaired and drawn in each format."""

import json

import cv2
import mmcv
import numpy as np
import pytest
from images import KINDS, TURNED, write_image
from PIL import Image

from casvit_mm.datasets.audit.copies import copy_as_stored, copy_upright
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.image_files import read_image_size
from casvit_mm.datasets.issues import Severity
from casvit_mm.report.audit.sheet import object_sheet

pytest.importorskip('supervision')


def as_yolo(root, image, size):
    (root / 'classes.txt').write_text('cat\n')
    image.with_suffix('.txt').write_text('0 0.5 0.5 0.4 0.4\n')


def as_voc(root, image, size):
    image.with_suffix('.xml').write_text(
        f'<annotation><filename>{image.name}</filename><size><width>{size[0]}</width>'
        f'<height>{size[1]}</height></size><object><name>cat</name><bndbox><xmin>5</xmin>'
        '<ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>'
    )


def as_labelme(root, image, size):
    shape = dict(label='cat', points=[[5, 5], [20, 20]], shape_type='rectangle')
    content = dict(
        imagePath=image.name, imageWidth=size[0], imageHeight=size[1], shapes=[shape], flags={}
    )
    image.with_suffix('.json').write_text(json.dumps(content))


def as_coco(root, image, size):
    file = root / 'train.json'
    content = dict(images=[], annotations=[], categories=[dict(id=1, name='cat')])
    if file.exists():
        content = json.loads(file.read_text())
    key = len(content['images']) + 1
    record = dict(id=key, file_name=image.name, width=size[0], height=size[1])
    box = dict(id=key, image_id=key, category_id=1, bbox=[5, 5, 15, 15], area=225, iscrowd=0)
    content['images'].append(record)
    content['annotations'].append(box)
    file.write_text(json.dumps(content))


FORMATS = [as_yolo, as_voc, as_labelme, as_coco]


def loaded(path):
    return mmcv.imfrombytes(path.read_bytes())


@pytest.mark.parametrize('label', FORMATS)
def test_every_type_and_mode_is_read_checked_and_drawn_in_every_format(tmp_path, label):
    for number, (suffix, mode) in enumerate(KINDS):
        path = write_image(tmp_path / f'{number}{suffix}', mode, seed=number)
        label(tmp_path, path, (40, 30))
    audit = audit_objects(read_dataset(tmp_path, 'detection'), progress=False)
    assert [str(issue) for issue in audit.issues.issues] == []
    (facts,) = audit.facts.values()
    assert (facts.images, facts.objects) == (len(KINDS), {'cat': len(KINDS)})
    cards = object_sheet(audit, len(KINDS), 0, [(255, 0, 0)])
    assert len(cards) == len(KINDS) and all(card.small and card.large for card in cards)


@pytest.mark.parametrize('label', FORMATS)
def test_images_rotated_by_exif_are_repaired_to_what_a_run_loads(tmp_path, label):
    root = tmp_path / 'data'
    root.mkdir()
    paths = []
    for suffix in TURNED:
        for orientation in (3, 6, 8):
            path = root / f'{orientation}{suffix[1:]}{suffix}'
            write_image(path, orientation=orientation, seed=len(paths))
            label(root, path, read_image_size(path).upright)
            paths.append(path)
    audit = audit_objects(read_dataset(root, 'detection'), progress=False)
    turned = {str(p) for p in paths if read_image_size(p).orientation != 1}
    assert {(f.kind, f.file) for f in audit.issues.issues} == {
        ('rotated-picture', path) for path in turned
    }
    repair_objects(audit, tmp_path / 'fixed')
    fixed = audit_objects(read_dataset(tmp_path / 'fixed'), progress=False)
    assert not fixed.issues.issues
    for path in paths:
        (copy,) = (tmp_path / 'fixed').rglob(path.name)
        before, after = loaded(path).astype(int), loaded(copy).astype(int)
        assert before.shape == after.shape and abs(before - after).mean() < 8


@pytest.mark.parametrize('suffix', TURNED)
@pytest.mark.parametrize('orientation', range(2, 9))
def test_an_image_is_copied_with_its_pixels_as_stored(tmp_path, suffix, orientation):
    plain = write_image(tmp_path / f'plain{suffix}')
    path = write_image(tmp_path / f'turned{suffix}', orientation=orientation)
    copy_as_stored(path, tmp_path / f'copy{suffix}')
    before, after = loaded(plain).astype(int), loaded(tmp_path / f'copy{suffix}').astype(int)
    assert before.shape == after.shape and abs(before - after).mean() < 8


@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
def test_a_copy_keeps_type_and_mode(tmp_path, suffix, mode):
    # The content determines the type, whatever the suffix.
    for ending in {suffix, '.jpg'}:
        source = write_image(tmp_path / f'a{suffix}', mode, orientation=6)
        for copy in (copy_upright, copy_as_stored):
            target = tmp_path / f'{copy.__name__}{ending}'
            copy(source, target)
            with Image.open(source) as before, Image.open(target) as after:
                assert (before.format, before.mode) == (after.format, after.mode)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.bmp'])
@pytest.mark.parametrize('mode', ['1', 'L', 'P'])
def test_semantic_masks_of_every_lossless_type_have_the_same_classes(tmp_path, suffix, mode):
    values = np.zeros((30, 40), np.uint8)
    values[10:20, 10:30] = 1
    for name in 'ab':
        file = tmp_path / 'images' / f'{name}.png'
        mask = tmp_path / 'masks' / f'{name}{suffix}'
        for path in (file, mask):
            path.parent.mkdir(exist_ok=True)
        write_image(file)
        image = Image.fromarray(values)
        if mode == 'P':
            image.putpalette([0, 0, 0, 200, 30, 30])
        (Image.fromarray(values.astype(bool)) if mode == '1' else image).save(mask)
    audit = audit_masks(read_dataset(tmp_path, 'semantic'), progress=False)
    assert not audit.issues.of(Severity.ERROR)
    assert audit.facts['all'].pixels == {'class_0': 2 * 1000, 'class_1': 2 * 200}


def test_an_image_that_cannot_be_decoded_is_named_in_the_report(tmp_path, monkeypatch):
    as_coco(tmp_path, write_image(tmp_path / 'a.png'), (40, 30))
    audit = audit_objects(read_dataset(tmp_path), progress=False)

    def refuse(*_):
        raise cv2.error('too large')

    monkeypatch.setattr(cv2, 'imdecode', refuse)
    (card,) = object_sheet(audit, 4, 0, [(255, 0, 0)])
    assert not card.small and card.missing == 'cannot be shown'
