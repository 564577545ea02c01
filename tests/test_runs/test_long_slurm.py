"""A run on two machines under Slurm whose job is put back into the queue."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from fake_slurm import Slurm
from long_runs import report, scalars
from quick_runs import DEMO, QUICK

from casvit_mm.datasets.shapes.objects import generate
from casvit_mm.models.checkpoint import read_checkpoint

JOB_SCRIPT = Path(__file__).parents[2] / 'tools' / 'slurm_job.sh'
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        sys.platform != 'linux' or torch.cuda.is_available(),
        reason='imitates two machines without GPUs on one',
    ),
]
OPTIONS = [
    *QUICK,
    'train_cfg.max_epochs=2',
    'train_dataloader.batch_size=1',
    'default_hooks.logger.interval=1',
]


def logged_steps(work_dir):
    return sum('loss' in line for line in scalars(work_dir))


def test_a_run_whose_time_is_up_twice_does_each_step_once_and_ends(tmp_path, capsys):
    root = tmp_path / 'shapes'
    # 20 steps in each of 2 epochs.
    generate(root, num_train=40, num_val=2, size=96, seed=0, progress=False)
    slurm = Slurm(tmp_path / 'slurm')
    options = ('--data-root', root, *OPTIONS)
    run = tmp_path / 'run'
    job = slurm.start(JOB_SCRIPT, DEMO, run, *options)
    for enough in (5, 25):
        while logged_steps(run) < enough:
            assert job.poll() is None, slurm.output
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGTERM)
        assert job.wait(120) != 0
        assert slurm.is_requeued
        job = slurm.start(JOB_SCRIPT, DEMO, run, *options, restart=True)
    assert job.wait(300) == 0, slurm.output
    assert not slurm.is_requeued
    told = [line for line in slurm.output.splitlines() if 'was told to end' in line]
    assert len(told) == 2, slurm.output
    assert [line['step'] for line in scalars(run) if 'loss' in line] == list(range(1, 41))
    whole = tmp_path / 'whole'
    alone = Slurm(tmp_path / 'another')
    assert alone.start(JOB_SCRIPT, DEMO, whole, *options).wait(300) == 0, alone.output
    ends = [read_checkpoint(each / 'epoch_2.pth') for each in (run, whole)]
    weights, expected = (each['state_dict'] for each in ends)
    assert [name for name, each in weights.items() if not torch.equal(each, expected[name])] == []
    report(capsys, '\n'.join(['Slurm, two machines:', *told]))
