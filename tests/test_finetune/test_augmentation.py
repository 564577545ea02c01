"""What the augmentation of a fine-tuning leaves of the objects."""

import random
from argparse import Namespace

import numpy as np
import pytest
from checked_runs import BASES, check
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.finetune.base import choose_base
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.plan import make_plan

pytest.importorskip('mmdet')


@pytest.mark.parametrize('task', ['detection', 'instance'])
def test_every_object_that_training_sees_has_a_box_with_a_size(task, tmp_path):
    """Crops cut rings and other shapes that do not fill their boxes into pieces, or to nothing."""
    root = tmp_path / 'shapes'
    shapes.generate(root, num_train=12, num_val=2, size=96, progress=False)
    args = Namespace(
        **dict(data=str(root), task=task, size='xs', config=BASES[task], heads=None),
        **dict(no_augmentation=False, val_share=0.3, balance=False, image_size=96, batch_size=4),
        **dict(epochs=1, learning_rate=1e-4, freeze=0, layer_decay=None, no_ema=True),
        **dict(patience=0, seed=0),
    )
    plan = make_plan(args, check(root, task), tmp_path, choose_base(args, None))
    file = tmp_path / 'config.py'
    file.write_text(config_text(plan), encoding='utf-8')
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
