"""Segmentation in runs of minutes whose results the README quotes: ``make long``."""

import re

import cv2
import numpy as np
import pytest
from long_runs import REPOSITORY, reached, report, scalars, tool

from casvit_mm.engine.checkpoints import noted_checkpoint

pytest.importorskip('mmseg')
pytestmark = pytest.mark.long

STREETS = (
    *('sky', 'building', 'pole', 'road', 'pavement', 'tree'),
    *('sign', 'fence', 'car', 'pedestrian', 'bicyclist'),
)
VOID = len(STREETS)


def mean_iou(work_dir):
    (value,) = reached(work_dir, 'mIoU')
    return value


def table(said):
    """The lines of the table of results by class."""
    return '\n'.join(line for line in said.splitlines() if re.match(r'^[+|]', line))


def test_the_demo_reaches_its_iou_from_random_weights(tmp_path, capsys):
    name = 'semantic_fpn_casvit-xs_demo_shapes'
    said, seconds = tool('train', name, '--work-dir', tmp_path)
    report(capsys, f'{name}: mIoU {mean_iou(tmp_path)} in {seconds:.0f} s\n{table(said)}')
    assert mean_iou(tmp_path) >= 75


# mmseg ignores the classes of a dataset that a config leaves out.
STREET_DATASET = f"""
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

@DATASETS.register_module()
class Streets(BaseSegDataset):
    METAINFO = dict(
        classes={(*STREETS, 'void')!r},
        palette=[[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
                 [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
                 [0, 128, 192], [0, 0, 0]])
"""
STREET_CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'streets'])
classes = {classes!r}
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(320, 240), ratio_range=(0.8, 1.6), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(320, 240), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32), dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=len(classes), loss_decode=dict(class_weight=None)))
dataset = dict(_delete_=True, type='Streets', metainfo=dict(classes=classes))
train_dataloader = dict(batch_size=4, dataset=dict(
    dataset, data_root={root!r}, pipeline=train_pipeline,
    data_prefix=dict(img_path='images/train', seg_map_path='annotations/train')))
val_dataloader = dict(batch_size=1, dataset=dict(
    dataset, data_root={root!r}, pipeline=test_pipeline, test_mode=True,
    data_prefix=dict(img_path='images/val', seg_map_path='annotations/val')))
test_dataloader = val_dataloader
max_iters = 900
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, T_max=max_iters)]
optim_wrapper = dict(optimizer=dict(lr=4e-3))
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'ProgressiveSizeHook']
"""


def iou_of_the_commonest_class(folder):
    """Mean IoU in percent of always predicting the class with the most pixels."""
    counts = np.zeros(256, int)
    for path in sorted(folder.glob('*.png')):
        counts += np.bincount(cv2.imread(str(path), -1).ravel(), minlength=256)
    known = counts[:VOID]
    return 100 * known.max() / known.sum() / len(STREETS)


def test_street_scenes_are_learned_from_scratch(photographs, tmp_path, capsys):
    root = photographs / 'camvid_mini'
    base = REPOSITORY / 'configs/segmentation/semantic_fpn_casvit-xs_demo_shapes.py'
    (tmp_path / 'streets.py').write_text(STREET_DATASET)
    config = tmp_path / 'semantic_fpn_streets.py'
    config.write_text(STREET_CONFIG.format(base=str(base), root=str(root), classes=STREETS))
    path = dict(PYTHONPATH=str(tmp_path))
    said, seconds = tool('train', config, '--work-dir', tmp_path / 'work', env=path)
    reached = mean_iou(tmp_path / 'work')
    commonest = iou_of_the_commonest_class(root / 'annotations/val')
    report(
        capsys,
        f'street scenes: mIoU {reached} in {seconds:.0f} s, the commonest class {commonest:.2f}\n'
        f'{table(said)}',
    )
    assert reached >= 3 * commonest

    checkpoint = noted_checkpoint(tmp_path / 'work')
    drawn = tmp_path / 'drawn'
    tool('image_demo', root / 'images/val', config, checkpoint, '--out-dir', drawn, env=path)
    images = {path.stem for path in (root / 'images/val').iterdir()}
    assert {path.stem for path in drawn.glob('*.jpg')} == images
    report(capsys, f'overlays: {drawn}')


def test_the_published_config_runs_on_real_images(photographs, tmp_path, capsys):
    """Three ADE20K images: training, evaluation, and semantic masks with ADE20K's pixel values."""
    root = photographs / 'ade20k_sample'
    name = 'semantic_fpn_casvit-xs_40k_ade20k-512x512'
    options = [
        f'{split}_dataloader.dataset.data_prefix.{key}={folder}'
        for split in ('train', 'val', 'test')
        for key, folder in (('img_path', 'images'), ('seg_map_path', 'annotations'))
    ]
    options += ['train_dataloader.batch_size=3', 'train_dataloader.num_workers=1']
    options += ['train_cfg.max_iters=60', 'train_cfg.val_interval=60']
    options += ['default_hooks.logger.interval=1', 'log_processor.window_size=1']
    _, seconds = tool(
        'train',
        name,
        '--from-scratch',
        *('--data-root', root, '--work-dir', tmp_path / 'train'),
        *('--cfg-options', *options),
    )
    losses = [line['loss'] for line in scalars(tmp_path / 'train') if 'loss' in line]
    report(
        capsys,
        f'{name}: loss {np.median(losses[:5]):.2f} -> {np.median(losses[-5:]):.2f} in '
        f'{len(losses)} iterations, {seconds:.0f} s',
    )
    assert np.median(losses[-5:]) < 0.7 * np.median(losses[:5])

    trained = tmp_path / 'train' / f'{name}.py', tmp_path / 'train' / 'iter_60.pth'
    said, _ = tool('test', *trained, '--work-dir', tmp_path / 'test')
    assert 'mIoU' in said and '| ' in table(said)
    out = tmp_path / 'label_maps'
    tool('test', *trained, '--format-only', out, '--work-dir', tmp_path / 'format')
    for path in (root / 'annotations').glob('*.png'):
        truth, answer = (cv2.imread(str(p), -1) for p in (path, out / path.name))
        assert answer.shape == truth.shape
        assert answer.min() >= 1 and answer.max() <= 150, 'classes start at 1; 0 is other'
        known = truth > 0
        report(capsys, f'{path.name}: {(answer == truth)[known].mean():.2f} of the pixels right')
