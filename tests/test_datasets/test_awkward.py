"""Datasets with one trouble each: what the check says, and what --fix makes of them.

The expectations are those of the table that comes with the datasets.
"""

import importlib.util
import os
from collections import Counter
from pathlib import Path

import awkward
import cv2
import numpy as np
import pytest

from casvit.errors import DatasetError
from casvit_mm.commands.data import audited
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.audit.repair_options import RepairOptions
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity

pytestmark = pytest.mark.skipif(
    'CASVIT_TEST_DATA' not in os.environ, reason='CASVIT_TEST_DATA names no folder'
)
# Images and objects by split; classes; kinds of errors.
CLEAN = {
    'png_yolo': (dict(all=(6, 6)), None),
    'png_labelme': (dict(all=(6, 6)), None),
    'noarea': (dict(train=(8, 24), val=(4, 12)), ['box', 'tri']),
    'bom': (dict(train=(8, 24), val=(4, 12)), ['box', 'tri']),
    'winpath': (dict(train=(8, 24), val=(4, 12)), ['box', 'tri']),
    'dup': (dict(train=(8, 48), val=(4, 24)), ['box', 'tri']),
    'voc_space': (dict(all=(8, 24)), ['box', 'tri']),
    'voc12': (dict(train=(3, 3), val=(3, 3)), None),
    'lm_rot': (dict(all=(8, 24)), None),
    'lm_special': (dict(all=(3, 6)), ['cat', 'dog']),
    'y_bomcls': (dict(train=(8, 24), val=(4, 12)), ['box', 'tri']),
    'y_gbkcls': (dict(train=(8, 24), val=(4, 12)), ['箱子', '三角']),
    'yolo_cvat': (dict(train=(3, 3)), None),
    'yolo_otherlabels': (dict(train=(4, 4), val=(4, 4)), None),
    'yolo_obb': (dict(train=(4, 4), val=(4, 4)), None),
    'coco_kpt': (dict(train=(3, 3), val=(3, 3)), ['person']),
    'coco_otherdir': (dict(all=(3, 3)), None),
    'lvis': (dict(train=(2, 2)), None),
}
FAULTY = {
    'upperext': {'missing-picture': 12},
    'rlebytes': {'broken-mask': 36},
    'flatpoly': {'flat-polygon': 36},
    'allcrowd': {'nothing-to-learn': 2},
    'emptyall': {'nothing-to-learn': 2},
    'xyxy': {'box-mask-mismatch': None},
    'yolo_valgone': {'missing-split': 1},
    'm_255': {'binary-mask': 1},
    'm_jpgnoname': {'lossy-mask': None},
}
MASKS = {
    'mmsegtut': dict(train=3, val=3),
    'city': dict(train=4, val=4),
    'ade': dict(train=4, val=2),
    'rgbgray': dict(all=6),
}


def folder(name):
    return Path(os.environ['CASVIT_TEST_DATA']) / 'awkward' / name


def check(root, task):
    return audited(read_dataset(root, task), task)


def error_counts(audit):
    return dict(Counter(issue.kind for issue in audit.issues.of(Severity.ERROR)))


def said(audit):
    return '\n'.join([*getattr(audit.dataset, 'changes', ()), *audit.dataset.notes])


def test_every_dataset_of_the_table_has_a_test():
    listed = {path.name for path in folder('').iterdir() if path.is_dir()}
    assert listed == {*CLEAN, *FAULTY, *MASKS, 'p_gif', 'cvat_xml'}
    assert listed - {'cvat_xml'} == set(awkward.TASKS)


@pytest.mark.parametrize('name', CLEAN)
def test_what_can_be_read_is_read(name):
    counts, classes = CLEAN[name]
    audit = check(folder(name), awkward.TASKS[name])
    assert error_counts(audit) == {}
    found = {n: (f.images, sum(f.objects.values())) for n, f in audit.facts.items()}
    assert found == counts
    if classes:
        assert sorted(audit.classes) == sorted(classes)


NOTES = {
    'noarea': "no 'area'",
    'bom': 'byte order mark',
    'winpath': 'Windows',
    'voc_space': "'box '",
    'lm_rot': '24 rotated',
    'lm_special': '__ignore__',
    'y_gbkcls': 'GBK',
    'yolo_obb': 'four corners',
    'coco_kpt': 'keypoints',
    'rgbgray': 'equal channels',
}


@pytest.mark.parametrize('name', NOTES)
def test_what_was_changed_while_reading_is_said(name):
    assert NOTES[name] in said(check(folder(name), awkward.TASKS[name]))


@pytest.mark.parametrize('name', ['yolo_otherlabels', 'yolo_obb'])
def test_the_same_images_in_both_splits_are_said(name):
    assert check(folder(name), 'detection').issues.counts() == {'same-picture': 4}


@pytest.mark.parametrize('name', FAULTY)
def test_what_cannot_be_learned_is_an_error(name):
    found = error_counts(check(folder(name), awkward.TASKS[name]))
    assert set(found) == set(FAULTY[name])
    for kind, number in FAULTY[name].items():
        assert number in (None, found[kind])


def test_exactly_the_images_that_the_run_cannot_decode_are_an_error():
    audit = check(folder('p_gif'), 'detection')
    found = {Path(issue.file).name for issue in audit.issues.of(Severity.ERROR)}
    images = [path for path in folder('p_gif').rglob('*') if path.suffix in ('.jpg', '.tif')]
    undecoded = {
        path.name
        for path in images
        if cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) is None
    }
    assert found == undecoded


@pytest.mark.parametrize('name', MASKS)
def test_semantic_masks_are_paired(name):
    audit = check(folder(name), 'semantic')
    assert error_counts(audit) == {}
    assert {n: f.images for n, f in audit.facts.items()} == MASKS[name]
    if name == 'mmsegtut':
        inside = check(folder(name) / 'my_dataset', 'semantic')
        assert {n: f.images for n, f in inside.facts.items()} == MASKS[name]
    if name == 'city':
        assert len(audit.classes) == 19 and audit.classes[0] == 'road'
    if name == 'ade':
        listed = (folder(name) / 'objectInfo150.txt').read_text().splitlines()
        assert len(audit.classes) == len(listed) - 1


@pytest.mark.parametrize('task', ['semantic', 'instance'])
def test_only_listed_images_of_voc_have_masks(task):
    audit = check(folder('voc12'), task)
    assert {n: f.images for n, f in audit.facts.items()} == dict(train=2, val=2)
    assert error_counts(audit) == {}


REPAIRS = {
    'upperext': RepairOptions(),
    'rlebytes': RepairOptions(),
    'flatpoly': RepairOptions(),
    'dup': RepairOptions(),
    'allcrowd': RepairOptions(crowd_as_objects=True),
    'xyxy': RepairOptions(boxes_from_masks=True),
    'm_255': RepairOptions(),
}


@pytest.mark.parametrize('name', REPAIRS)
def test_a_repair_keeps_every_image_and_object(name, tmp_path):
    task = awkward.TASKS[name]
    audit = check(folder(name), task)
    if isinstance(audit, MaskAudit):
        repair_masks(audit, tmp_path / 'fixed')
    else:
        repair_objects(audit, tmp_path / 'fixed', REPAIRS[name])
    fixed = check(tmp_path / 'fixed', task)
    assert fixed.issues.issues == []
    assert sum(fact.images for fact in fixed.facts.values()) == 12
    if task != 'semantic':
        assert sum(sum(fact.objects.values()) for fact in fixed.facts.values()) == 36
    lines = (tmp_path / 'fixed/changes.txt').read_text().splitlines()
    assert len(lines) == len(set(lines))


def test_a_format_of_another_tool_is_read_or_named_with_its_extra():
    if importlib.util.find_spec('datumaro') is None:
        with pytest.raises(DatasetError, match=r'CVAT for images 1\.1.*casvit-mm\[formats\]'):
            read_dataset(folder('cvat_xml'), 'detection')
    else:
        audit = check(folder('cvat_xml'), 'detection')
        assert sum(sum(fact.objects.values()) for fact in audit.facts.values()) == 3
