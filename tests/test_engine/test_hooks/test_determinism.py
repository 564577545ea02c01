"""Runs with ``randomness = dict(deterministic=True)``."""

import os

import pytest
import torch
from exact_runs import exact_run
from mmcv.ops import RoIAlign
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import METRICS
from torch import nn

from casvit_mm.engine.hooks.determinism import unordered

DETERMINISTIC = dict(randomness=dict(seed=0, deterministic=True))


def count():
    """Something that torch has no deterministic form of, as the histogram of IoUMetric on a GPU."""
    return torch.zeros(3).put_(torch.tensor([1]), torch.ones(1)).sum().item()


@METRICS.register_module()
class Counted(BaseMetric):
    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results.append(count())

    def compute_metrics(self, results):
        return dict(accuracy=sum(results))


class CountInStep(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 5:
            count()


@pytest.fixture(autouse=True)
def undone(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, 'deterministic', cudnn.deterministic)
    # Set first, so that it is undone whatever was there.
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', '')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
    yield
    torch.use_deterministic_algorithms(False)


def test_what_is_not_deterministic_may_count_in_a_validation_and_is_refused_in_a_step(tmp_path):
    exact_run(tmp_path / 'good', val_evaluator=dict(type='Counted'), **DETERMINISTIC).train()
    bad = exact_run(tmp_path / 'bad', custom_hooks=[CountInStep()], **DETERMINISTIC)
    with pytest.raises(RuntimeError, match='does not have a deterministic implementation'):
        bad.train()
    # The second of three epochs: there has been a validation.
    assert bad.iter == 5


def test_cublas_is_told_to_be_deterministic_unless_the_user_told_it(tmp_path, monkeypatch):
    exact_run(tmp_path / 'usual')
    assert 'CUBLAS_WORKSPACE_CONFIG' not in os.environ
    exact_run(tmp_path / 'deterministic', **DETERMINISTIC)
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':16:8')
    exact_run(tmp_path / 'own', **DETERMINISTIC)
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':16:8'


def test_operators_of_mmcv_that_add_up_gradients_are_named():
    model = nn.ModuleList([RoIAlign(3), RoIAlign(7), nn.Conv2d(3, 3, 1)])
    assert unordered(model) == ['RoIAlign']
    assert unordered(nn.Conv2d(3, 3, 1)) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason='on a CPU, sums have a fixed order')
def test_a_deterministic_run_on_a_gpu_warns_if_its_gradients_are_not(tmp_path):
    runner = exact_run(tmp_path, epochs=1, **DETERMINISTIC)
    runner.model.roi = RoIAlign(3)
    messages = []
    runner.logger.warning = messages.append
    runner.train()
    assert any('RoIAlign of mmcv' in each for each in messages)
