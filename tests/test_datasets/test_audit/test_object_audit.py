"""Each issue is found in the right record, and nothing else; the repaired copy has none."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from faulty import IMAGES, RECORDS, is_no_object, make_a_copy_of, repeats_an_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.audit.repair_options import RepairOptions
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import KINDS, Severity

TIMES = 25
many_times = settings(
    max_examples=TIMES,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Issues that follow from others: an image without its record loses its objects as well.
FOLLOW = {'unknown-image', 'unknown-category', 'unused-class', 'absent-class', 'broken-mask'}
FOLLOW |= {
    'box-mask-mismatch',
    'rle-size',
    'outside-box',
    'partly-outside',
    'class-order',
    'tiny-box',
}


@pytest.fixture(scope='module')
def clean(tmp_path_factory) -> Path:
    from casvit_mm.datasets.shapes import objects as shapes

    root = tmp_path_factory.mktemp('clean') / 'shapes'
    shapes.generate(root, num_train=12, num_val=6, size=96, progress=False)
    # Only the images and COCO files: the generated dataset also has semantic masks.
    shutil.rmtree(root / 'labels')
    (root / 'dataset.json').unlink()
    return root


@pytest.fixture(scope='module')
def found(clean):
    return read_dataset(clean)


def checked(root, **options):
    return audit_objects(read_dataset(root), progress=False, **options)


def damaged_copy(dataset):
    return copy.deepcopy(dataset)


def errors(audit):
    return {issue.kind for issue in audit.issues.of(Severity.ERROR)}


def test_a_clean_dataset_has_no_issues(found):
    audit = audit_objects(found, masks=True, progress=False)
    assert [str(issue) for issue in audit.issues.issues] == []
    assert audit.facts['train'].images == 12
    assert sum(audit.facts['train'].objects.values()) == len(
        found.splits['train'].content['annotations']
    )


@pytest.mark.parametrize('damage', RECORDS, ids=lambda damage: damage.__name__)
def test_a_damaged_record_is_found(found, damage):
    @many_times
    @given(st.integers(0, 10**9))
    def look(seed):
        rng = np.random.default_rng(seed)
        dataset = damaged_copy(found)
        split = ['train', 'val'][rng.integers(2)]
        group, index = damage(dataset.splits[split].content, rng)
        audit = audit_objects(
            dataset,
            masks=True,
            read_images=damage.__name__ == 'states_another_size',
            progress=False,
        )
        hits = [issue for issue in audit.issues.issues if issue.kind == RECORDS[damage]]
        assert any((hit.group, hit.index) == (group, index) for hit in hits), [
            str(issue) for issue in audit.issues.issues
        ]
        hit = next(hit for hit in hits if (hit.group, hit.index) == (group, index))
        assert f'{group}[{index}]' in hit.record
        others = {issue.kind for issue in audit.issues.issues} - {RECORDS[damage]} - FOLLOW
        assert not others, others

    look()


@pytest.mark.parametrize('damage', IMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_image_is_found(clean, damage, tmp_path):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        root = tmp_path / str(seed)
        shutil.copytree(clean, root)
        path = sorted((root / 'train').iterdir())[rng.integers(12)]
        damage(path, rng)
        audit = checked(root)
        # Run-length masks no longer fit an image of another size.
        found = [issue for issue in audit.issues.issues if issue.kind != 'rle-size']
        assert [(issue.kind, issue.file) for issue in found] == [(IMAGES[damage], str(path))]
        assert 'images[' in audit.issues.issues[0].record


def test_an_image_in_two_splits_is_found_by_its_content(clean, tmp_path):
    root = tmp_path / 'shapes'
    shutil.copytree(clean, root)
    make_a_copy_of(root / 'val/000003.jpg', root / 'train/000005.jpg')
    (issue,) = checked(root).issues.issues
    assert issue.kind == 'same-picture'
    assert issue.file == str(root / 'train/000005.jpg')
    assert str(root / 'val/000003.jpg') in issue.detail


def test_an_image_that_was_annotated_unrotated_is_an_error(clean, tmp_path):
    from PIL import Image

    root = tmp_path / 'shapes'
    shutil.copytree(clean, root)
    path = root / 'train/000000.jpg'
    image = Image.open(path).resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    file = root / 'annotations/instances_train.json'
    content = json.loads(file.read_text())
    content['images'][0].update(width=96, height=64)
    key = content['images'][0]['id']
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != key]
    file.write_text(json.dumps(content))
    (issue,) = checked(root).issues.issues
    assert issue.kind == 'picture-size' and 'EXIF orientation 6' in issue.detail

    repair_objects(checked(root), tmp_path / 'fixed')
    assert errors(checked(tmp_path / 'fixed')) == set()
    assert Image.open(tmp_path / 'fixed/train/000000.jpg').size == (96, 64)


def test_splits_that_order_their_classes_differently_are_an_error(found):
    dataset = damaged_copy(found)
    dataset.splits['val'].content['categories'].reverse()
    audit = audit_objects(dataset, read_images=False)
    assert errors(audit) == {'class-order'}


def test_classes_without_objects_are_a_warning(found):
    dataset = damaged_copy(found)
    for name, kept in (('train', True), ('val', False)):
        content = dataset.splits[name].content
        content['categories'].append(dict(id=77, name='hexagon'))
        content['annotations'] = [
            a for a in content['annotations'] if kept or a['category_id'] != 1
        ]
    audit = audit_objects(dataset, read_images=False)
    assert {(f.kind, f.record) for f in audit.issues.issues} == {
        ('unused-class', "category 'hexagon'"),
        ('absent-class', "category 'circle'"),
    }


def test_objects_without_masks_are_an_error_only_if_masks_are_needed(found):
    dataset = damaged_copy(found)
    for annotation in dataset.splits['train'].content['annotations']:
        del annotation['segmentation']
    assert errors(audit_objects(dataset, read_images=False)) == set()
    assert errors(audit_objects(dataset, masks=True, read_images=False)) == {'no-mask'}


@pytest.mark.parametrize('damage', RECORDS, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize('masks', [None, True])
def test_the_repaired_copy_has_no_errors_and_the_original_is_unchanged(
    clean, damage, masks, tmp_path
):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        root, fixed = tmp_path / str(seed), tmp_path / f'{seed}-fixed'
        shutil.copytree(clean, root)
        file = root / 'annotations/instances_train.json'
        content = json.loads(file.read_text())
        damage(content, rng)
        file.write_text(json.dumps(content))
        before = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}

        audit = checked(root, masks=masks)
        mismatch = 'box-mask-mismatch' in errors(audit)
        options = RepairOptions(allow_loss=1, boxes_from_masks=mismatch)
        changes = repair_objects(audit, fixed, options)

        assert before == {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
        assert errors(checked(fixed, masks=masks)) == set()
        assert (fixed / 'changes.txt').read_text().splitlines() == (changes or ['No issues found.'])
        if KINDS[RECORDS[damage]].severity is Severity.ERROR:
            assert changes


def test_repairing_a_clean_dataset_changes_nothing(clean, tmp_path):
    assert repair_objects(checked(clean), tmp_path / 'fixed') == []
    for split in ('train', 'val'):
        before, after = (
            json.loads((root / f'annotations/instances_{split}.json').read_text())
            for root in (clean, tmp_path / 'fixed')
        )
        assert len(before['annotations']) == len(after['annotations'])
        for old, new in zip(before['annotations'], after['annotations'], strict=True):
            assert old['bbox'] == new['bbox'] and old['segmentation'] == new['segmentation']
        for name in (image['file_name'] for image in after['images']):
            assert (clean / split / name).read_bytes() == (
                tmp_path / 'fixed' / split / name
            ).read_bytes()


def test_all_issues_together_are_found(found):
    rng = np.random.default_rng(0)
    dataset = damaged_copy(found)
    content = dataset.splits['train'].content
    late = (is_no_object, repeats_an_id)
    wanted = set()
    for damage in (
        *(d for d in RECORDS if RECORDS[d] not in ('broken-record', 'double-id')),
        *late,
    ):
        for _ in range(20):
            trial = copy.deepcopy(content)
            try:
                damage(trial, rng)
            except (KeyError, TypeError, StopIteration):
                continue
            content.clear()
            content.update(trial)
            wanted.add(RECORDS[damage])
            break
    audit = audit_objects(dataset, masks=True, progress=False)
    assert wanted - {issue.kind for issue in audit.issues.issues} <= FOLLOW


def test_a_copy_does_not_overwrite_anything(found, tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    audit = audit_objects(found, read_images=False)
    with pytest.raises(DatasetError, match='already exists'):
        repair_objects(audit, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


def test_boxes_smaller_than_a_pixel_are_a_warning(found):
    dataset = damaged_copy(found)
    dataset.splits['val'].content['annotations'][2]['bbox'][2] = 0.4
    (issue,) = audit_objects(dataset, masks=False, read_images=False).issues.issues
    assert (issue.kind, issue.group, issue.index) == ('tiny-box', 'annotations', 2)


def test_masks_of_the_true_size_are_kept_if_the_stated_size_is_wrong(clean, tmp_path):
    root = tmp_path / 'shapes'
    shutil.copytree(clean, root)
    file = root / 'annotations/instances_train.json'
    content = json.loads(file.read_text())
    content['images'][0]['width'] = 40
    file.write_text(json.dumps(content))
    repair_objects(checked(root, masks=True), tmp_path / 'fixed')
    fixed = json.loads((tmp_path / 'fixed/annotations/instances_train.json').read_text())
    assert fixed['images'][0]['width'] == 96
    for old, new in zip(content['annotations'], fixed['annotations'], strict=True):
        assert old['segmentation'] == new['segmentation'] and old['bbox'] == new['bbox']
