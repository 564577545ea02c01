"""Slurm imitated: as much of ``srun``, ``sbatch``, ``scancel`` and ``scontrol`` as our scripts use.

A job gets the environment variables that Slurm sets, and its machines are all this one. As a
script, this module is the commands; :class:`Slurm` runs jobs as ``sbatch`` does. What it does for
signals is what Slurm 22.05 was seen to do: ``real_slurm.py``.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

JOB = '4711'


class Slurm:
    """Jobs, one after another.

    Args:
        folder: Folder for its commands and its notes.
        python: What the jobs call as ``python``.
    """

    def __init__(self, folder, python=sys.executable):
        self.folder = Path(folder)
        self.folder.mkdir()
        for name in COMMANDS:
            command = self.folder / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
            command.chmod(0o755)
        self.env = {
            **{key: value for key, value in os.environ.items() if 'SLURM' not in key},
            'PATH': f'{self.folder}:{os.environ["PATH"]}',
            'PYTHON': str(python),
            'OMP_NUM_THREADS': '1',
            'FAKE_SLURM': str(self.folder),
        }

    @property
    def is_requeued(self):
        """Whether the last job is in the queue again."""
        return (self.folder / 'requeued').exists()

    @property
    def steps(self):
        """The arguments of each call of srun."""
        notes = self.folder / 'srun.txt'
        return [line.split('\t') for line in notes.read_text().splitlines()]

    def start(self, script, *arguments, **variables):
        """Starts a job as ``sbatch SCRIPT ARGUMENTS`` does, on two machines with a GPU each."""
        self.is_in('RUNNING')
        told = dict(
            SLURM_JOB_ID=JOB,
            SLURM_JOB_NAME='casvit',
            SLURM_JOB_PARTITION='gpus',
            SLURM_JOB_NUM_NODES='2',
            SLURM_JOB_CPUS_PER_NODE='12,6',
            SLURM_GPUS_ON_NODE='1',
            SLURM_SUBMIT_DIR=str(Path(__file__).parents[1]),
            **variables,
        )
        # Slurm runs a copy of the script, in the folder of the daemon.
        copy = self.folder / 'slurm_script'
        copy.write_bytes(Path(script).read_bytes())
        with (self.folder / 'output.txt').open('ab') as output:
            return subprocess.Popen(
                ['bash', copy, *map(str, arguments)],
                env={**self.env, **told},
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )

    def is_in(self, state, preempted_at='None'):
        """Notes what ``scontrol show job`` says of the job."""
        said = f'JobId={JOB} JobState={state} Reason=None PreemptTime={preempted_at} Power='
        (self.folder / 'job.txt').write_text(said)

    def tell_run(self):
        """Sends SIGTERM to the run, as Slurm does if it cancels or preempts a job."""
        send(self.folder, signal.SIGTERM)

    @property
    def output(self):
        """What the jobs have printed."""
        return (self.folder / 'output.txt').read_text()

    def wait_for(self, text, times=1, seconds=180):
        """Waits until the jobs have printed a text so many times."""
        end = time.monotonic() + seconds
        while self.output.count(text) < times:
            assert time.monotonic() < end, f'{text!r} was not said:\n{self.output}'
            time.sleep(0.05)


def srun(arguments):
    """Runs a command on each machine; kills it there if it gets a SIGTERM itself."""
    folder = Path(os.environ['FAKE_SLURM'])
    with (folder / 'srun.txt').open('a') as notes:
        notes.write('\t'.join(each for each in arguments if each.startswith('--')) + '\n')
    start = next(place for place, each in enumerate(arguments) if not each.startswith('-'))
    options = dict(each[2:].split('=', 1) for each in arguments[:start])
    machines = int(options['ntasks'])
    processes = [
        subprocess.Popen(
            arguments[start:],
            env={
                **os.environ,
                'SLURM_JOB_ID': JOB,
                'SLURM_JOB_NODELIST': f'machine[1-{machines}]',
                'SLURM_NNODES': str(machines),
                'SLURM_NODEID': str(number),
            },
            start_new_session=True,
        )
        for number in range(machines)
    ]
    (folder / 'tasks.txt').write_text(' '.join(str(process.pid) for process in processes))
    signal.signal(signal.SIGTERM, lambda *_: send(folder, signal.SIGKILL))
    return max(abs(process.wait()) for process in processes)


def send(folder, number):
    """Sends a signal to all processes of the job but its script."""
    for task in (folder / 'tasks.txt').read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(task), number)


def scancel(arguments):
    """Sends SIGTERM to the run of a job."""
    if arguments != ['--signal=TERM', JOB]:
        return 1
    send(Path(os.environ['FAKE_SLURM']), signal.SIGTERM)
    return 0


def scontrol(arguments):
    """Lists the machines of a job, shows it, or notes that it is to be run again."""
    folder = Path(os.environ['FAKE_SLURM'])
    if arguments[:2] == ['show', 'hostnames']:
        print('127.0.0.1\n127.0.0.1')
    elif arguments == ['--oneliner', 'show', 'job', JOB]:
        print((folder / 'job.txt').read_text())
    elif arguments == ['requeue', JOB]:
        (folder / 'requeued').touch()
    else:
        return 1
    return 0


COMMANDS = {'srun': srun, 'scancel': scancel, 'scontrol': scontrol}

if __name__ == '__main__':
    sys.exit(COMMANDS[sys.argv[1]](sys.argv[2:]))
