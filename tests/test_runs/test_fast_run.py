"""A run with the switches of `_base_/fast.py`."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from quick_runs import run_tool

from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.speed.training import TrainingSpeed

CONFIG = """
_base_ = '{configs}/detection/mask_rcnn_casvit-xs_demo_shapes.py'
# With frozen norms, as in the published recipes.
model = dict(backbone=dict(norm_eval=True), test_cfg=dict(rcnn=dict(score_thr=0.0)))
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
custom_hooks = [*_base_.custom_hooks, dict(type='WatchSpeed')]
{more}
"""


@HOOKS.register_module()
class WatchSpeed(Hook):
    """Records the effect of the switches on a run."""

    seen = SimpleNamespace()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        groups = runner.optim_wrapper.param_groups
        self.seen.wrapper = type(runner.optim_wrapper).__name__
        self.seen.groups, self.seen.fused = len(groups), groups[0].get('fused')
        self.seen.stem = runner.model.backbone.stem


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    shapes.generate(folder, num_train=12, num_val=4, seed=1, progress=False)
    return folder


@pytest.fixture
def losses(configs, root, tmp_path):
    """Trains for three steps and returns their losses."""

    def train(more='', name='run'):
        config = tmp_path / f'{name}.py'
        config.write_text(CONFIG.format(configs=configs, more=more))
        work_dir = tmp_path / name
        run = [config, '--data-root', root, '--work-dir', work_dir]
        assert run_tool('train', run) == 0
        (scalars,) = work_dir.rglob('scalars.json')
        lines = map(json.loads, scalars.read_text().splitlines())
        return [line['loss'] for line in lines if 'loss' in line]

    return train


def published(configs):
    """Names of the configs without switches of their own."""
    files = [*configs.glob('*/*.py')]
    return [file for file in files if file.parent != configs / '_base_' and 'demo' not in file.name]


def test_one_more_base_in_a_published_config_adds_the_switches(configs, tmp_path):
    files = published(configs)
    assert len(files) > 30
    for file in files:
        child = tmp_path / file.name
        child.write_text(f"_base_ = ['{file}', '{configs}/_base_/fast.py']\n")
        cfg = Config.fromfile(child)
        plain = Config.fromfile(file)
        assert TrainingSpeed.of(cfg.speed).fold_norms
        assert not plain.get('speed')
        assert cfg.optim_wrapper == plain.optim_wrapper, 'the recipe is unchanged'


def test_the_switches_do_not_change_the_losses(losses):
    fast = losses()
    seen = WatchSpeed.seen
    assert seen.stem.folds_norms
    assert seen.groups < 20
    plain = losses(
        'speed = dict(channels_last=False, fold_norms=False, fused_optimizer=False)', 'plain'
    )
    assert not WatchSpeed.seen.stem.folds_norms
    assert fast == pytest.approx(plain, rel=1e-3)


def test_a_run_in_bfloat16_trains_and_validates_on_a_cpu(losses):
    found = losses("speed = dict(precision='bf16')")
    assert WatchSpeed.seen.wrapper == 'BFloat16OptimWrapper'
    assert WatchSpeed.seen.stem[0].weight.dtype == torch.float32
    assert len(found) == 3 and all(0 < each < 20 for each in found)


def test_a_run_that_chooses_its_precision_saves_it_in_its_config(losses, tmp_path):
    losses("speed = dict(precision='auto')")
    (left,) = tmp_path.glob('run/*/vis_data/config.py')
    chosen = Config.fromfile(left).speed.precision
    wrappers = {'fp32': 'OptimWrapper', 'bf16': 'BFloat16OptimWrapper'}
    assert WatchSpeed.seen.wrapper == wrappers[chosen]


def test_an_unknown_switch_is_reported_in_a_sentence(configs, root, tmp_path, capsys):
    config = tmp_path / 'wrong.py'
    config.write_text(CONFIG.format(configs=configs, more='speed = dict(quick=True)'))
    assert run_tool('train', [config, '--data-root', root, '--work-dir', tmp_path]) == 2
    shown = capsys.readouterr().err
    assert 'unknown keys: quick; known: channels_last' in shown and 'Traceback' not in shown
