"""The classification demo, shortened, and all uses of its checkpoint."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')
from mmengine import Config
from mmengine.registry import MODELS, init_default_scope
from quick_runs import run_tool

from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.datasets.shapes import single as single_shapes
from casvit_mm.engine.checkpoints import noted_checkpoint
from casvit_mm.models import read_checkpoint

DEMO = 'casvit-xs_demo_shapes'
SHORT = [
    'train_cfg.max_epochs=2',
    'train_cfg.val_interval=2',
    'train_dataloader.batch_size=6',
    'default_hooks.logger.interval=1',
]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A small generated dataset."""
    folder = tmp_path_factory.mktemp('data') / 'single_shapes'
    single_shapes.generate(folder, num_train=12, num_val=12, progress=False)
    return folder


@pytest.fixture(scope='module')
def work_dir(root, tmp_path_factory):
    """The work dir of a short run."""
    folder = tmp_path_factory.mktemp('run')
    where = ['--data-root', root, '--work-dir', folder]
    assert run_tool('train', [DEMO, *where, '--cfg-options', *SHORT]) == 0
    return folder


@pytest.fixture(scope='module')
def checkpoint(work_dir):
    return noted_checkpoint(work_dir)


def scalars(work_dir):
    lines = [
        json.loads(line)
        for file in work_dir.rglob('scalars.json')
        for line in file.read_text().splitlines()
    ]
    return lines


def test_a_run_leaves_checkpoint_config_metrics_and_images(work_dir, checkpoint):
    content = read_checkpoint(checkpoint)
    assert tuple(content['meta']['dataset_meta']['classes']) == single_shapes.CLASSES
    assert Config.fromfile(work_dir / f'{DEMO}.py').model.backbone.arch == 'xs'
    losses = [line['loss'] for line in scalars(work_dir) if 'loss' in line]
    assert len(losses) == 4 and np.isfinite(losses).all()
    (last,) = [line for line in scalars(work_dir) if 'accuracy/top1' in line]
    assert 0 <= last['accuracy/top1'] <= 100
    assert list((work_dir / 'preview').glob('*.jpg'))


def test_testing_gives_the_accuracy_of_training(work_dir, checkpoint, root, tmp_path):
    where = ['--data-root', root, '--work-dir', tmp_path]
    assert run_tool('test', [DEMO, checkpoint, *where]) == 0
    tested = json.loads(next(tmp_path.rglob('*/*.json')).read_text().splitlines()[-1])
    (trained,) = [line for line in scalars(work_dir) if 'accuracy/top1' in line]
    assert tested['accuracy/top1'] == pytest.approx(trained['accuracy/top1'])


def test_a_test_run_and_browsing_draw_the_images_with_their_classes(root, checkpoint, tmp_path):
    where = ['--data-root', root, '--work-dir', tmp_path / 'work']
    drawn = tmp_path / 'drawn'
    assert run_tool('test', [DEMO, checkpoint, *where, '--show-dir', drawn]) == 0
    assert len(list(drawn.glob('*.jpg'))) == 12
    browsed = ['--number', '3', '--out-dir', tmp_path / 'browsed']
    assert run_tool('browse_dataset', [DEMO, '--data-root', root, *browsed]) == 0
    assert len(list((tmp_path / 'browsed').glob('*.jpg'))) == 3


def test_the_parameters_of_a_classifier_are_counted(capsys):
    assert run_tool('get_flops', ['casvit-xs_8xb128_in1k', '--shape', '224', '224']) == 0
    model = next(line for line in capsys.readouterr().out.splitlines() if 'model' in line)
    # 0.547 GMACs, like the published code with one head.
    assert model.split()[-1] == '0.55'


def test_the_checkpoint_starts_the_backbone_of_a_detector_bit_for_bit(checkpoint, configs):
    pytest.importorskip('mmdet')
    cfg = Config.fromfile(configs / 'detection' / 'mask_rcnn_casvit-xs_demo_shapes.py')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    init_default_scope('mmdet')
    detector = MODELS.build(cfg.model)
    detector.init_weights()
    trained = read_checkpoint(checkpoint)['state_dict']
    arrived = detector.backbone.state_dict()
    for key, value in arrived.items():
        if key.startswith('out_norms.'):
            neutral = 1.0 if key.endswith(('weight', 'running_var')) else 0.0
            assert (value == neutral).all(), key
        else:
            assert torch.equal(value, trained[f'backbone.{key}']), key
    assert len(arrived) > 100


def test_a_detector_trains_from_the_checkpoint(checkpoint, tmp_path):
    pytest.importorskip('mmdet')
    shapes.generate(tmp_path / 'shapes', num_train=4, num_val=2, size=64, progress=False)
    where = ['--data-root', tmp_path / 'shapes', '--work-dir', tmp_path / 'work']
    start = [
        'model.backbone.init_cfg.type=Pretrained',
        f'model.backbone.init_cfg.checkpoint={checkpoint}',
    ]
    epochs = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    options = ['--cfg-options', *start, *epochs]
    assert run_tool('train', ['mask_rcnn_casvit-xs_demo_shapes', *where, *options]) == 0
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    assert f'Backbone from {checkpoint}' in log
    assert 'left out the classifier (head, out_norms.3)' in log


def test_an_average_of_the_weights_is_saved_and_comes_back(root, tmp_path, configs):
    config = tmp_path / 'averaged.py'
    config.write_text(
        f'_base_ = {str(configs / "classification" / f"{DEMO}.py")!r}\n'
        "custom_hooks = [dict(type='EMAHook', momentum=0.5, update_buffers=True)]\n"
    )
    where = ['--data-root', root, '--work-dir', tmp_path / 'work']
    assert run_tool('train', [config, *where, '--cfg-options', *SHORT]) == 0
    file = noted_checkpoint(tmp_path / 'work')
    content = read_checkpoint(file, weights='ema')
    raw = content['ema_state_dict']['module.head.fc.weight']
    assert not torch.equal(content['state_dict']['head.fc.weight'], raw)
    where = ['--data-root', root, '--work-dir', tmp_path / 'test']
    assert run_tool('test', [config, file, *where]) == 0
    tested = json.loads(next((tmp_path / 'test').rglob('*/*.json')).read_text().splitlines()[-1])
    (trained,) = [line for line in scalars(tmp_path / 'work') if 'accuracy/top1' in line]
    assert tested['accuracy/top1'] == pytest.approx(trained['accuracy/top1'])


def test_batches_of_several_sizes_train(root, tmp_path, configs):
    config = tmp_path / 'scales.py'
    config.write_text(
        f'_base_ = {str(configs / "classification" / f"{DEMO}.py")!r}\n'
        "train_pipeline = [dict(type='LoadImageFromFile'),\n"
        "    dict(type='MultiScaleRandomResizedCrop', scale=64), dict(type='PackInputs')]\n"
        'train_dataloader = dict(\n'
        "    batch_sampler=dict(type='MultiScaleBatchSampler', base_size=64,\n"
        '        scale_range=(32, 96), num_scales=3),\n'
        '    dataset=dict(pipeline=train_pipeline))\n'
    )
    where = ['--data-root', root, '--work-dir', tmp_path / 'work']
    short = [option for option in SHORT if 'batch_size' not in option]
    batch = 'train_dataloader.batch_size=3'
    assert run_tool('train', [config, *where, '--cfg-options', *short, batch]) == 0
    steps = [line for line in scalars(tmp_path / 'work') if 'loss' in line]
    assert len(steps) == 2 * 2, 'an epoch is 3 images of 64 pixels and 9 of 32'
