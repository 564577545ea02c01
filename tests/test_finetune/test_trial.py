"""A short run of a config, and its memory measured from outside."""

from contextlib import suppress

import cv2
import psutil
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.finetune.memory import GIB, Trials
from casvit_mm.finetune.trial import shorten

pytest.importorskip('mmdet')


@pytest.fixture
def root(tmp_path):
    shapes.generate(tmp_path / 'shapes', num_train=20, num_val=12, size=96, progress=False)
    return tmp_path / 'shapes'


@pytest.fixture
def config(root, configs, tmp_path):
    """The demo's config on these images."""
    cfg = Config.fromfile(configs / 'detection/mask_rcnn_casvit-xs_demo_shapes.py')
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.update(type='CocoDataset', data_root=f'{root}/')
        dataset.metainfo = dict(classes=shapes.CLASSES)
        cfg[f'{split}_dataloader'].update(num_workers=1, persistent_workers=True)
    cfg.val_evaluator.ann_file = f'{root}/annotations/instances_val.json'
    cfg.dump(tmp_path / 'config.py')
    return tmp_path / 'config.py'


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_trial_sees_images_from_the_largest_to_the_smallest(wrapped, root, config, tmp_path):
    for number, path in enumerate(sorted(root.glob('*/*.jpg'))):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (96 + number, 96)))
    cfg = Config.fromfile(config)
    cfg.train_dataloader.batch_size = 2
    if wrapped:
        inner = cfg.train_dataloader.dataset
        cfg.train_dataloader.dataset = dict(
            type='ClassBalancedDataset', oversample_thr=0.0, dataset=inner
        )
    shorten(cfg, tmp_path)
    init_default_scope('mmdet')
    for split, count in (('train', 6), ('val', 4)):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset = DATASETS.build({**dataset.get('dataset', dataset), 'pipeline': []})
        seen = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
        seen, every = (
            [cv2.imread(str(path)).shape[1] for path in paths]
            for paths in (seen, (root / split).iterdir())
        )
        assert len(seen) == count and seen == sorted(seen, reverse=True)
        assert seen[0] == max(every) and seen[-1] == min(every)


def test_a_run_is_measured_with_its_validation_and_the_processes_that_load(config):
    with Trials(config, 100 * GIB) as trials:
        one, three = trials.measure(1), trials.measure(3)
        assert GIB / 4 < one.peak <= three.peak < 4 * GIB
        assert three.batch_size == 3 and three.seconds > 0 and three.val_seconds > 0
    alone = Config.fromfile(config)
    for split in ('train', 'val'):
        alone[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    alone.dump(config)
    with Trials(config, 100 * GIB) as trials:
        assert GIB / 4 < trials.measure(1).peak < one.peak


def test_a_run_that_takes_more_than_it_may_is_stopped_with_all_its_processes(config):
    with Trials(config, GIB // 4) as trials:
        assert trials.measure(1) is None
    running = []
    for process in psutil.Process().children(recursive=True):
        # Other child processes may end meanwhile.
        with suppress(psutil.Error):
            running += process.cmdline()
    assert 'casvit_mm.finetune.trial' not in running


def test_a_run_that_fails_says_why(config):
    cfg = Config.fromfile(config)
    cfg.model.neck.in_channels = [1, 2, 3, 4]
    cfg.dump(config)
    with Trials(config, 100 * GIB) as trials, pytest.raises(RuntimeError, match='channels'):
        trials.measure(1)
