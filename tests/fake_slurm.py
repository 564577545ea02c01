"""Slurm on one machine: as much of ``srun``, ``sbatch`` and ``scontrol`` as our scripts use.

A job gets the environment variables that Slurm sets, and its machines are all this one. As a
script, this module is the commands ``srun`` and ``scontrol``; :class:`Slurm` runs jobs as
``sbatch`` does.
"""

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
        for name in ('srun', 'scontrol'):
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
        self.restarts = 0

    @property
    def is_requeued(self):
        """Whether the last job is in the queue again."""
        return (self.folder / 'requeued').exists()

    @property
    def steps(self):
        """The arguments of each call of srun."""
        notes = self.folder / 'srun.txt'
        return [line.split('\t') for line in notes.read_text().splitlines()]

    def start(self, script, *arguments, nodes=2, gpus=1, restart=False):
        """Starts a job as ``sbatch SCRIPT ARGUMENTS`` does, with its output in one file."""
        (self.folder / 'requeued').unlink(missing_ok=True)
        self.restarts = self.restarts + 1 if restart else 0
        told = dict(
            SLURM_JOB_ID=JOB,
            SLURM_JOB_NAME='casvit',
            SLURM_JOB_PARTITION='gpus',
            SLURM_JOB_NUM_NODES=str(nodes),
            SLURM_GPUS_ON_NODE=str(gpus),
            SLURM_SUBMIT_DIR=str(Path(__file__).parents[1]),
        )
        if self.restarts:
            told['SLURM_RESTART_COUNT'] = str(self.restarts)
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
    """Runs a command on each machine; passes SIGTERM on to all its processes, as Slurm does."""
    with Path(os.environ['FAKE_SLURM'], 'srun.txt').open('a') as notes:
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

    def forward(*_):
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, forward)
    return max(abs(process.wait()) for process in processes)


def scontrol(arguments):
    """Lists the machines of a job, or notes that it is to be run again."""
    if arguments[:2] == ['show', 'hostnames']:
        print('127.0.0.1\n127.0.0.1')
    elif arguments == ['requeue', JOB]:
        Path(os.environ['FAKE_SLURM'], 'requeued').touch()
    else:
        return 1
    return 0


if __name__ == '__main__':
    sys.exit({'srun': srun, 'scontrol': scontrol}[sys.argv[1]](sys.argv[2:]))
