"""What the augmentation of a fine-tuning leaves of the objects."""

import random

import numpy as np
import pytest
from checked_runs import check, written_config
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from casvit_mm.datasets.shapes import objects as shapes

pytest.importorskip('mmdet')


@pytest.mark.parametrize('task', ['detection', 'instance'])
def test_every_object_that_training_sees_has_a_box_with_a_size(task, tmp_path):
    """Crops cut rings and other shapes that do not fill their boxes into pieces, or to nothing."""
    root = tmp_path / 'shapes'
    shapes.generate(root, num_train=12, num_val=2, size=96, progress=False)
    options = dict(no_augmentation=False, image_size=96)
    file = written_config(check(root, task), task, tmp_path, **options)
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    random.seed(0)
    np.random.seed(0)
    seen = 0
    for index in np.resize(np.arange(len(dataset)), 240):
        boxes = dataset[int(index)]['data_samples'].gt_instances.bboxes
        seen += len(boxes)
        assert not len(boxes) or (min(boxes.widths.min(), boxes.heights.min()) >= 1)
    assert seen > 200
