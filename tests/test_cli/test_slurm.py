"""The scripts for Slurm, with the commands of Slurm imitated and nothing trained."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_slurm import JOB, Slurm

TOOLS = Path(__file__).parents[2] / 'tools'
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='Slurm needs Linux')

TORCHRUN = """#!/bin/bash
trap 'echo saved; exit 1' TERM
echo "torchrun $*"
[ "${@: -1}" = waits ] || exit ${@: -1}
sleep 60 & wait
"""


@pytest.fixture
def slurm(tmp_path):
    """Slurm whose machines print how torchrun is called, and end with the last argument as code."""
    python = tmp_path / 'python'
    python.write_text(TORCHRUN)
    python.chmod(0o755)
    return Slurm(tmp_path / 'slurm', python)


@pytest.mark.parametrize(('gpus', 'machines', 'each'), [(16, 2, 8), (8, 1, 8), (2, 1, 2)])
def test_each_machine_runs_one_torchrun_which_meet_at_the_first(slurm, gpus, machines, each):
    done = subprocess.run(
        [TOOLS / 'slurm_train.sh', 'gpus', 'casvit', 'CONFIG', 'DIR', '0'],
        env={**slurm.env, 'GPUS': str(gpus), 'SRUN_ARGS': '--exclusive=user --mem=0'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    calls = done.stdout.splitlines()
    assert len(calls) == machines
    for part in (
        f'--nnodes={machines} --nproc_per_node={each} --max-restarts=0',
        f'--rdzv-id={JOB} --rdzv-endpoint=127.0.0.1:29500 {TOOLS / "train.py"}',
        'CONFIG --work-dir DIR --launcher pytorch 0',
    ):
        assert all(part in call for call in calls), calls
    (options,) = slurm.steps
    assert {
        f'--gres=gpu:{each}',
        f'--nodes={machines}',
        f'--cpus-per-task={5 * each}',
        '--mem=0',
    } <= set(options)


def test_a_number_of_gpus_that_leaves_machines_half_used_is_refused(slurm):
    done = subprocess.run(
        [TOOLS / 'slurm_train.sh', 'gpus', 'casvit', 'CONFIG', 'DIR'],
        env={**slurm.env, 'GPUS': '12'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == 'GPUS=12 is not a multiple of GPUS_PER_NODE=8.\n'


@pytest.mark.parametrize('code', [0, 2])
def test_a_job_that_ends_by_itself_is_not_run_again(slurm, code):
    job = slurm.start(TOOLS / 'slurm_job.sh', 'CONFIG', 'DIR', code)
    assert job.wait(30) == code
    assert not slurm.is_requeued
    assert slurm.output.count('torchrun') == 2


@pytest.mark.parametrize(
    ('variables', 'cpus'),
    [({}, 6), ({'SLURM_CPUS_PER_TASK': '4'}, 4), ({'CPUS_PER_TASK': '3'}, 3)],
)
def test_a_run_gets_the_processors_that_its_job_has_on_every_machine(slurm, variables, cpus):
    assert slurm.start(TOOLS / 'slurm_job.sh', 'CONFIG', 'DIR', '0', **variables).wait(30) == 0
    (options,) = slurm.steps
    assert f'--cpus-per-task={cpus}' in options


def test_a_job_whose_time_is_up_lets_its_run_save_and_is_run_again(slurm):
    job = slurm.start(TOOLS / 'slurm_job.sh', 'CONFIG', 'DIR', 'waits')
    slurm.wait_for('torchrun', times=2)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(30) == 1
    assert slurm.output.count('saved') == 2
    assert slurm.is_requeued


def test_a_job_that_saves_itself_while_it_is_preempted_is_run_again(slurm):
    job = slurm.start(TOOLS / 'slurm_job.sh', 'CONFIG', 'DIR', 'waits')
    slurm.wait_for('torchrun', times=2)
    slurm.is_in('RUNNING', preempted_at='2026-11-27T17:39:35')
    slurm.tell_run()
    assert job.wait(30) == 1
    assert slurm.is_requeued


@pytest.mark.parametrize('first', [(), (signal.SIGUSR1,)])
def test_a_job_that_is_cancelled_is_saved_and_not_run_again(slurm, first):
    job = slurm.start(TOOLS / 'slurm_job.sh', 'CONFIG', 'DIR', 'waits')
    slurm.wait_for('torchrun', times=2)
    slurm.is_in('COMPLETING')
    for number in (*first, signal.SIGTERM):
        os.kill(job.pid, number)
    slurm.tell_run()
    assert job.wait(30) == 1
    assert slurm.output.count('saved') == 2
    assert not slurm.is_requeued


def test_the_script_of_a_job_does_nothing_outside_of_a_job(slurm):
    done = subprocess.run(
        [TOOLS / 'slurm_job.sh', 'CONFIG', 'DIR'], env=slurm.env, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert 'sbatch --partition=PARTITION' in done.stderr
    assert not (slurm.folder / 'srun.txt').exists()
