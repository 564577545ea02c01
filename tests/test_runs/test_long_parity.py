"""Exported files of trained demos: the objects in photographs, and the checkpoint's accuracy."""

import json
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from long_runs import report, tool
from PIL import Image

from casvit import Predictor
from casvit.exported.formats import FORMATS
from casvit.exported.parity import difference
from casvit_mm.engine.checkpoints import noted_checkpoint

pytestmark = pytest.mark.long

MASKS = 'mask_rcnn_casvit-xs_demo_shapes'
BOXES = 'retinanet_casvit-xs_demo_shapes'
SEMANTIC = 'semantic_fpn_casvit-xs_demo_shapes'
CLASSES = 'casvit-xs_demo_shapes'
METRICS = {
    MASKS: ('coco/bbox_mAP', 'coco/segm_mAP'),
    BOXES: ('coco/bbox_mAP',),
    SEMANTIC: ('mIoU',),
    CLASSES: ('accuracy/top1',),
}
PERCENT = ('mIoU', 'accuracy/top1')
FILES = [
    (name, key, options)
    for name in METRICS
    for key, each in FORMATS.items()
    if each.backend and (name != MASKS or each.whole_detectors)
    for options in (('--dynamic',) if each.dynamic else (), ('--half',))
    if options != ('--half',) or 'fp16' in each.precisions
]
SIDES = {CLASSES: 64}
"""Sides of the images of a demo whose pipeline does not resize them."""


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """Trains a demo once, or takes it from the folder CASVIT_TRAINED_DEMOS."""
    done = {}

    def checkpoint(name):
        if name not in done:
            kept = os.environ.get('CASVIT_TRAINED_DEMOS')
            folder = Path(kept) / name if kept else tmp_path_factory.mktemp(name)
            if not kept:
                tool('train', name, '--work-dir', folder)
            done[name] = noted_checkpoint(folder)
        return done[name]

    return checkpoint


@pytest.fixture(scope='session')
def exported(trained, tmp_path_factory):
    """Exports a trained demo once."""
    done = {}

    def file(name, key, options):
        package = {'openvino': 'openvino', 'ncnn': 'pnnx'}.get(key, FORMATS[key].package)
        if find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
        if (name, key, options) not in done:
            out = tmp_path_factory.mktemp(key) / f'model{FORMATS[key].suffix}'
            fixed = name in SIDES and '--dynamic' not in options
            size = ('--size', SIDES[name]) if fixed else ()
            tool('export', name, trained(name), '--format', key, *options, *size, '--out', out)
            done[name, key, options] = out
        return done[name, key, options]

    return file


def accuracies(name, folder, *model):
    """The metrics that the test command logs."""
    tool('test', name, *model, '--work-dir', folder, '--quiet')
    (log,) = [file for file in folder.glob('*/*.json') if file.parent.name == file.stem]
    logged = json.loads(log.read_text().splitlines()[-1])
    return [logged[each] / (100 if each in PERCENT else 1) for each in METRICS[name]]


@pytest.fixture(scope='session')
def of_checkpoint(trained, tmp_path_factory):
    """Tests the checkpoint of a demo once."""
    return cache(lambda name: accuracies(name, tmp_path_factory.mktemp(name), trained(name)))


@pytest.mark.parametrize(('name', 'key', 'options'), FILES)
def test_an_exported_file_has_the_accuracy_of_the_checkpoint(
    name, key, options, of_checkpoint, exported, tmp_path, capsys
):
    file = exported(name, key, options)
    expected = of_checkpoint(name)
    found = accuracies(name, tmp_path / 'file', '--backend', file, '--trust')
    shown = [f'{left:.4f} {right:.4f}' for left, right in zip(expected, found, strict=True)]
    report(capsys, f'{name} {key} {" ".join(options)}: {", ".join(shown)}')
    assert min(expected) > 0.4
    limit = 0.005 if options == ('--half',) else 0.001
    assert np.abs(np.subtract(expected, found)).max() <= limit


def is_near_boundary(labels):
    """Pixels next to one of another label. Shape: ``(H, W) -> (H, W)``."""
    labels = labels.astype(np.uint8)
    window = np.ones((3, 3), np.uint8)
    return cv2.dilate(labels, window) != cv2.erode(labels, window)


def pictures(folder, size):
    """Photographs in many shapes, in that of the network's input if it has only one."""
    files = sorted((folder / 'coco_mini').rglob('*.jpg'))[:20]
    files += sorted((folder / 'camvid_mini' / 'images').rglob('*.*'))[:10]
    assert len(files) == 30
    for file in files:
        image = Image.open(file).convert('RGB')
        yield np.asarray(image.resize(size[::-1]) if size else image)[..., ::-1]


@pytest.mark.parametrize(
    ('name', 'key', 'options'), [each for each in FILES if each[2] != ('--half',)]
)
def test_photographs_get_the_same_answers_from_the_file(
    name, key, options, trained, exported, photographs, capsys
):
    file = Predictor(exported(name, key, options), trust=True)
    checkpoint = Predictor(trained(name), config=name)
    worst = dict(boxes=0.0, scores=0.0, objects=0, pixels=0)
    for image in pictures(photographs, file.backend.description.size):
        image = np.ascontiguousarray(image)
        left, right = checkpoint(image), file(image)
        if name == SEMANTIC:
            differs = left.class_ids != right.class_ids
            assert not (differs & ~is_near_boundary(left.class_ids)).any()
            worst['pixels'] += int(differs.sum())
            continue
        if name == CLASSES:
            worst['scores'] = max(worst['scores'], float(np.abs(left.scores - right.scores).max()))
            continue
        columns = [[each.boxes, each.scores, each.class_ids] for each in (left, right)]
        found = difference('detection', *columns, score_threshold=0.3)
        assert found.unmatched == 0
        worst['boxes'] = max(worst['boxes'], found.boxes)
        worst['scores'] = max(worst['scores'], found.scores)
        worst['objects'] += found.objects
        if name == MASKS and len(left) == len(right):
            for one, other in zip(left.dense_masks, right.dense_masks, strict=True):
                differs = one != other
                assert not (differs & ~is_near_boundary(one)).any()
                worst['pixels'] += int(differs.sum())
    report(capsys, f'{name} {key}: {worst}')
    assert worst['boxes'] < 1e-2 and worst['scores'] < 1e-4
    assert worst['objects'] > 0 or name in (SEMANTIC, CLASSES)
