"""What the augmentation of a fine-tuning leaves of the objects."""

import random

import numpy as np
import pytest
from checked_runs import check, written_config
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from casvit_mm.datasets.shapes import objects as shapes

pytest.importorskip('mmdet')


@pytest.mark.parametrize('last', [False, True], ids=['first epochs', 'last epochs'])
@pytest.mark.parametrize('task', ['detection', 'instance'])
def test_every_object_that_training_sees_has_a_box_with_a_size(task, last, tmp_path):
    """Crops cut rings and other shapes that do not fill their boxes into pieces, or to nothing."""
    root = tmp_path / 'shapes'
    shapes.generate(root, num_train=12, num_val=2, size=96, progress=False)
    options = dict(no_augmentation=False, image_size=96, epochs=5)
    file = written_config(check(root, task), task, tmp_path, **options)
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    if last:
        cfg.train_dataloader.dataset.pipeline = cfg.custom_hooks[-1].switch_pipeline
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    random.seed(0)
    np.random.seed(0)
    seen = 0
    for index in np.resize(np.arange(len(dataset)), 240):
        boxes = dataset[int(index)]['data_samples'].gt_instances.bboxes
        seen += len(boxes)
        assert not len(boxes) or (min(boxes.widths.min(), boxes.heights.min()) >= 1)
    assert seen > 200


def pipelines(task, tmp_path, **options):
    """The types of the transforms of the first epochs and of the last, and when these begin."""
    root = tmp_path / 'shapes'
    shapes.generate(root, num_train=12, num_val=2, size=64, progress=False)
    options = dict(dict(no_augmentation=False, image_size=64, epochs=50), **options)
    cfg = Config.fromfile(written_config(check(root, task), task, tmp_path, **options))
    first = [step.type for step in cfg.train_pipeline]
    switches = [hook for hook in cfg.custom_hooks if hook.type == 'PipelineSwitchHook']
    if not switches:
        return first, None, None
    (switch,) = switches
    return first, [step.type for step in switch.switch_pipeline], switch.switch_epoch


@pytest.mark.parametrize('task', ['detection', 'instance'])
def test_the_last_epochs_see_single_images(task, tmp_path):
    first, last, epoch = pipelines(task, tmp_path)
    assert 'CachedMosaic' in first and ('CachedCopyPaste' in first) == (task == 'instance')
    assert last == [
        *('LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop'),
        *('YOLOXHSVRandomAug', 'RandomFlip', 'FilterAnnotations', 'PackDetInputs'),
    ]
    assert epoch == 30


@pytest.mark.parametrize('options', [dict(balance=True), dict(epochs=1)], ids=str)
def test_a_run_without_last_epochs_has_no_hook_for_them(options, tmp_path):
    first, last, _ = pipelines('instance', tmp_path, **options)
    assert 'CachedMosaic' in first and last is None
