"""Joining a distributed run, without a GPU."""

import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from torch import distributed

from casvit_mm.engine.launch import RANK_VARIABLES, LaunchError, join_run, world_size

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without GPU')


@pytest.fixture
def no_launcher(monkeypatch):
    """Unsets the environment variables of all launchers."""
    for name in (*RANK_VARIABLES, 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_nothing_is_joined(no_launcher):
    cfg = Config(dict())
    join_run(cfg, 'none')
    assert cfg.launcher == 'none'
    assert not distributed.is_initialized()
    assert world_size('none') == 1


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_a_process_that_was_not_started_by_the_launcher_is_rejected(launcher, no_launcher):
    with pytest.raises(LaunchError, match='unset'):
        join_run(Config(dict()), launcher)


@without_gpu
def test_slurm_without_gpus_is_rejected_with_an_alternative(no_launcher, monkeypatch):
    monkeypatch.setenv('SLURM_NTASKS', '2')
    assert world_size('slurm') == 2
    with pytest.raises(LaunchError, match='--launcher pytorch'):
        join_run(Config(dict()), 'slurm')


@without_gpu
def test_a_torchrun_process_without_a_gpu_joins_over_gloo(started_by_torchrun):
    cfg = Config(dict(find_unused_parameters=True))
    try:
        join_run(cfg, 'pytorch')
        assert distributed.get_backend() == 'gloo'
    finally:
        distributed.destroy_process_group()
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters is True


def test_more_processes_than_gpus_are_rejected(no_launcher, started_by_torchrun, monkeypatch):
    """On a machine with one GPU, as far as this can be told without one."""
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cuda')
    with pytest.raises(LaunchError, match='no GPU for process 1 of this machine: torch finds 1'):
        join_run(Config(dict()), 'pytorch')


@pytest.mark.skipif(sys.platform != 'linux', reason='the system ends such processes on Linux only')
def test_a_process_whose_torchrun_is_killed_does_not_stay_behind(tmp_path):
    script = tmp_path / 'wait.py'
    script.write_text(
        'import time\n'
        'from mmengine.config import Config\n'
        'from casvit_mm.engine.launch import join_run\n'
        "join_run(Config(dict()), 'pytorch')\n"
        "print('joined', flush=True)\n"
        'time.sleep(600)\n'
    )
    torchrun = subprocess.Popen(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'},
        text=True,
    )
    with torchrun:
        assert torchrun.stdout.readline() == 'joined\n'
        torchrun.kill()
        # The process has the same end of the pipe.
        assert torchrun.communicate(timeout=20) == ('', None)
