"""Jobs on two machines under Slurm: their time is up, they are preempted, lost and cancelled."""

import time
from pathlib import Path

import pytest
import torch
from long_runs import report, scalars
from quick_runs import DEMO, QUICK
from real_slurm import RealSlurm, why_not

from casvit_mm.datasets.shapes.objects import generate
from casvit_mm.models.checkpoint import read_checkpoint

JOB_SCRIPT = Path(__file__).parents[2] / 'tools' / 'slurm_job.sh'
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or 'not skipped'),
    pytest.mark.skipif(torch.cuda.is_available(), reason='the machines have no GPUs'),
]
OPTIONS = [
    *QUICK,
    'train_cfg.max_epochs=2',
    'train_dataloader.batch_size=1',
    'default_hooks.logger.interval=1',
]
# The first machine takes longer to save than the other one; the last argument is the exit code.
TORCHRUN = """#!/bin/bash
trap 'sleep $((3 - 3 * SLURM_NODEID)); echo "saved $SLURM_NODEID"; exit 1' TERM
echo "begun, restarts ${SLURM_RESTART_COUNT:-0}"
[ "${@: -1}" = waits ] || exit ${@: -1}
sleep 600 & wait
"""


@pytest.fixture(scope='module')
def slurm(tmp_path_factory):
    """Slurm whose machines pretend to train."""
    folder = tmp_path_factory.mktemp('pretended')
    python = folder / 'python'
    python.write_text(TORCHRUN)
    python.chmod(0o755)
    with RealSlurm(folder, python) as slurm:
        yield slurm


def submitted(slurm, last='waits', **where):
    """A job that runs on both machines, or has run."""
    job = slurm.submit(JOB_SCRIPT, 'CONFIG', slurm.logs / 'run', last, **where)
    slurm.wait_until(lambda: slurm.output(job).count('begun') == 2, 60, job)
    return job


def test_a_job_whose_time_is_up_saves_its_run_and_is_put_back(slurm):
    # Slurm sends the signal up to a minute early: here at once.
    job = submitted(slurm, options=['--time=1', '--signal=B:USR1@30'])
    slurm.wait_for(job, 'PENDING')
    assert [slurm.output(job).count(f'saved {machine}') for machine in (0, 1)] == [1, 1]
    slurm.start_again(job)
    slurm.wait_until(lambda: slurm.output(job).count('begun, restarts 1') == 2, 60, job)
    slurm.call('scancel', job)
    slurm.wait_for(job, 'CANCELLED')


@pytest.mark.parametrize('partition', ['gpus', 'spot'])
def test_a_job_that_is_preempted_saves_its_run_and_is_put_back(slurm, partition):
    job = submitted(slurm, partition=partition)
    slurm.preempt()
    slurm.wait_for(job, 'PENDING')
    assert [slurm.output(job).count(f'saved {machine}') for machine in (0, 1)] == [1, 1]
    slurm.call('scancel', job)


@pytest.mark.parametrize('time_is_up', [False, True])
def test_a_job_that_is_cancelled_saves_its_run_and_is_not_put_back(slurm, time_is_up):
    job = submitted(slurm)
    if time_is_up:
        slurm.call('scancel', '--batch', '--signal=USR1', job)
        time.sleep(1)
    slurm.call('scancel', job)
    slurm.wait_for(job, 'CANCELLED')
    assert 'saved 0' in slurm.output(job)
    time.sleep(5)
    assert slurm.state(job) == ('CANCELLED', 0)


@pytest.mark.parametrize(('code', 'state'), [(0, 'COMPLETED'), (2, 'FAILED')])
def test_a_job_that_ends_by_itself_is_not_put_back(slurm, code, state):
    job = submitted(slurm, code)
    slurm.wait_for(job, state)
    time.sleep(2)
    assert slurm.state(job) == (state, 0)


def logged_steps(work_dir):
    return [line['step'] for line in scalars(work_dir) if 'loss' in line]


def test_a_run_ends_as_if_its_time_had_not_been_up_and_no_machine_lost(tmp_path, capsys):
    root = tmp_path / 'shapes'
    # 20 steps in each of 2 epochs.
    generate(root, num_train=40, num_val=2, size=96, seed=0, progress=False)
    run, whole = tmp_path / 'run', tmp_path / 'whole'
    with RealSlurm(tmp_path) as slurm:

        def let_run(until):
            slurm.wait_until(lambda: len(logged_steps(run)) >= until, 180, job)

        job = slurm.submit(JOB_SCRIPT, DEMO, run, '--data-root', root, *OPTIONS)
        let_run(5)
        slurm.call('scancel', '--batch', '--signal=USR1', job)
        slurm.start_again(job)
        let_run(15)
        slurm.preempt()
        slurm.start_again(job)
        let_run(25)
        assert logged_steps(run) == list(range(1, 1 + len(logged_steps(run))))
        slurm.cut_off('b')
        slurm.wait_for(job, 'PENDING')
        slurm.connect('b')
        # What is left there of the job is ended, and would be taken for the job that starts again
        # if that did not wait.
        slurm.wait_until(lambda: not slurm.serves('b'), 180)
        slurm.start_again(job)
        slurm.wait_for(job, 'COMPLETED', 300)
        assert slurm.state(job) == ('COMPLETED', 3)
        told = [line for line in slurm.output(job).splitlines() if 'was told to end' in line]
        assert len(told) == 2, slurm.output(job)
        steps = logged_steps(run)
        assert sorted(set(steps)) == list(range(1, 41))
        alone = slurm.submit(JOB_SCRIPT, DEMO, whole, '--data-root', root, *OPTIONS)
        slurm.wait_for(alone, 'COMPLETED', 300)
    ends = [read_checkpoint(each / 'epoch_2.pth') for each in (run, whole)]
    weights, expected = (each['state_dict'] for each in ends)
    assert [name for name, each in weights.items() if not torch.equal(each, expected[name])] == []
    again = len(steps) - len(set(steps))
    report(capsys, '\n'.join(['Slurm, two machines:', *told, f'{again} steps computed twice']))
