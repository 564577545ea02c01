"""Near copies of images are found across splits, and different images are not."""

import io
import shutil

import cv2
import numpy as np
import pytest
from faulty import make_a_copy_of
from PIL import Image, ImageEnhance

from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.shapes import objects as shapes

COPIED = 20


@pytest.fixture(scope='module', autouse=True)
def library():
    pytest.importorskip('imagehash', reason='needs the extra duplicates')


@pytest.fixture(scope='module')
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp('near') / 'shapes'
    shapes.generate(root, num_train=160, num_val=40, progress=False)
    shutil.rmtree(root / 'labels')
    (root / 'dataset.json').unlink()
    return root


@pytest.fixture
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / 'shapes')


def found(root, kind='near-duplicate'):
    audit = audit_objects(read_dataset(root), near_duplicates=True, progress=False)
    return [issue for issue in audit.issues.issues if issue.kind == kind]


def half_the_size(image):
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def twice_the_size(image):
    return image.resize((image.width * 2, image.height * 2), Image.Resampling.BILINEAR)


def strongly_compressed(image):
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=40)
    return Image.open(file)


def slightly_cropped(image):
    edge = round(image.width / 100)
    return image.crop((edge, edge, image.width - edge, image.height - edge))


def brighter(image):
    return ImageEnhance.Brightness(image).enhance(1.2)


def darker(image):
    return ImageEnhance.Brightness(image).enhance(0.8)


def grey(image):
    return image.convert('L')


CHANGES = [half_the_size, twice_the_size, strongly_compressed, slightly_cropped]
CHANGES += [brighter, darker, grey]


@pytest.mark.parametrize('change', CHANGES, ids=lambda change: change.__name__)
def test_near_copies_of_an_image_in_another_split_are_found(root, change):
    copies = {}
    for number in range(COPIED):
        source, copy = root / f'val/{number:06}.jpg', root / f'train/{number + 50:06}.jpg'
        with Image.open(source) as image:
            change(image).save(copy, 'PNG')
        copies[str(copy)] = f'nearly equals {source} in val'
    issues = found(root)
    assert {issue.file: issue.detail for issue in issues}.items() <= copies.items()
    assert len(issues) >= 0.9 * COPIED
    assert all(issue.record.startswith('images[') for issue in issues)


def test_200_different_images_raise_no_false_alarm(clean):
    assert found(clean) == []


def test_photographs_are_told_apart_and_their_copies_are_found(photographs, tmp_path):
    root = shutil.copytree(photographs / 'coco_mini', tmp_path / 'coco')
    assert found(root) == []
    splits = read_dataset(root).splits
    train, val = ([s.image(r) for r in s.content['images']] for s in splits.values())
    for source, copy in zip(val[:COPIED], train, strict=False):
        with Image.open(source) as image:
            half_the_size(slightly_cropped(image.convert('RGB'))).save(copy, 'JPEG', quality=60)
    assert {issue.file for issue in found(root)} == {str(copy) for copy in train[:COPIED]}


def test_an_image_is_compared_as_a_run_loads_it(root):
    source, copy = root / 'val/000003.jpg', root / 'train/000005.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(source) as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(copy, 'JPEG', quality=95, exif=exif)
        assert [issue.file for issue in found(root)] == [str(copy)]
        turned.save(copy, 'JPEG', quality=95)
    assert found(root) == []


def test_exact_copies_are_an_issue_of_their_own(root):
    make_a_copy_of(root / 'val/000003.jpg', root / 'train/000005.jpg')
    assert found(root) == []
    assert len(found(root, 'same-picture')) == 1


def test_a_near_copy_is_found_beside_an_exact_one(root):
    source = root / 'val/000003.jpg'
    make_a_copy_of(source, root / 'train/000005.jpg')
    with Image.open(source) as image:
        image.save(root / 'val/000007.jpg', quality=50)
    (issue,) = found(root)
    assert issue.file == str(root / 'train/000005.jpg')
    assert str(root / 'val/000007.jpg') in issue.detail


def test_near_copies_in_one_split_are_no_issue(root):
    with Image.open(root / 'train/000003.jpg') as image:
        image.save(root / 'train/000005.jpg', quality=50)
    assert found(root) == []


def test_images_that_cannot_be_read_or_are_plain_are_not_compared(root):
    for path, value in ((root / 'val/000003.jpg', 30), (root / 'train/000005.jpg', 200)):
        cv2.imwrite(str(path), np.full((160, 160, 3), value, np.uint8))
    (root / 'val/000004.jpg').write_bytes(b'not an image')
    (root / 'train/000006.jpg').unlink()
    assert found(root) == []


def test_near_copies_are_found_beside_semantic_masks(tmp_path):
    generated, root = tmp_path / 'generated', tmp_path / 'masks'
    shapes.generate(generated, num_train=8, num_val=4, size=96, progress=False)
    for split in ('train', 'val'):
        shutil.copytree(generated / split, root / 'images' / split)
        shutil.copytree(generated / 'labels' / split, root / 'annotations' / split)
    (root / 'classes.txt').write_text('\n'.join(('background', *shapes.CLASSES)))
    source, copy = root / 'images/val/000003.jpg', root / 'images/train/000005.jpg'
    with Image.open(source) as image:
        brighter(image).save(copy)
    audit = audit_masks(read_dataset(root), near_duplicates=True, progress=False)
    issues = [issue for issue in audit.issues.issues if issue.kind == 'near-duplicate']
    assert [(i.file, i.detail) for i in issues] == [(str(copy), f'nearly equals {source} in val')]
    audit = audit_masks(read_dataset(root), progress=False)
    assert 'near-duplicate' not in audit.issues.counts()
