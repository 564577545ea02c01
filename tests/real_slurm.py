"""Slurm itself: a controller and two machines, each in a network namespace, as root on Linux."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import two_hosts
from two_hosts import ADDRESSES, HOSTS, Network

COMMANDS = ('slurmctld', 'slurmd', 'munged', 'sbatch')
LOST_AFTER = 20
"""Seconds without an answer after which Slurm takes a machine for lost."""
CONFIG = """\
ClusterName=casvit
SlurmctldHost=casvit-store({store})
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
ReturnToService=2
SlurmdTimeout={lost_after}
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=gpus Nodes=ALL Default=YES PriorityTier=1 GraceTime=60
PartitionName=spot Nodes=ALL PriorityTier=1 GraceTime=0
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""
NODE = 'NodeName=casvit-{name} NodeAddr={address} CPUs={cpus} CoresPerSocket={cpus} Gres=gpu:1'


def why_not():
    """Why there can be no Slurm here; '' if there can."""
    if not all(map(shutil.which, COMMANDS)):
        return f'needs {", ".join(COMMANDS)}'
    return two_hosts.why_not()


class RealSlurm(Network):
    """Two machines with a GPU each, which does not exist, as a context.

    Jobs in the partition ``gpus`` have a minute of grace if one in ``urgent`` preempts them, and
    those in ``spot`` have none.

    Args:
        logs: Folder for what is printed on each machine.
        python: What the jobs call as ``python``.
    """

    def __init__(self, logs, python=sys.executable):
        super().__init__(logs)
        self.python = python

    def __enter__(self):
        super().__enter__()
        # The addresses of sockets have at most 108 characters.
        self.folder = Path(tempfile.mkdtemp(prefix='slurm-'))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.folder)

    def start(self):
        """Starts the controller and the machines."""
        self.folder.chmod(0o755)
        (self.folder / 'state').mkdir()
        key = self.folder / 'munge.key'
        key.touch(0o400)
        key.write_bytes(os.urandom(128))
        nodes = [
            NODE.format(name=name, address=ADDRESSES[name], cpus=os.cpu_count()) for name in HOSTS
        ]
        self.config = self.folder / 'slurm.conf'
        self.config.write_text(
            CONFIG.format(
                store=ADDRESSES['store'],
                folder=self.folder,
                lost_after=LOST_AFTER,
                nodes='\n'.join(nodes),
            )
        )
        (self.folder / 'gres.conf').write_text('Name=gpu File=/dev/null\n')
        # The other one wants a mounted cgroup filesystem, which a namespace does not have.
        (self.folder / 'cgroup.conf').write_text('CgroupPlugin=cgroup/v1\n')
        files = {
            'key-file': key,
            **{each: self.folder / f'munge.{each}' for each in ('socket', 'log-file', 'seed-file')},
            'pid-file': self.folder / 'munge.pid',
        }
        options = [f'--{name}={file}' for name, file in files.items()]
        # Started on a machine, it ends with it.
        self.run('store', ['sh', '-c', 'munged --force "$@" && exec slurmctld -D', 'sh', *options])
        for name in HOSTS:
            self.run(name, ['slurmd', '-D', '-N', f'casvit-{name}'])
        self.wait_until(lambda: self.idle() == len(HOSTS), 30)

    def inside(self, name, *command):
        return ['env', f'SLURM_CONF={self.config}', *super().inside(name, *command)]

    def call(self, *command, check=True):
        """Executes a command where the controller is; returns what it prints."""
        done = subprocess.run(
            self.inside('store', *command),
            env={
                **{key: value for key, value in os.environ.items() if 'SLURM' not in key},
                'PYTHON': str(self.python),
                'OMP_NUM_THREADS': '1',
            },
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f'{command}: {done.stderr}'
        return done.stdout

    def submit(self, script, *arguments, partition='gpus', options=()):
        """Puts a script into the queue, for both machines; returns the number of its job."""
        return self.call(
            *('sbatch', '--parsable', f'--partition={partition}', '--nodes=2', '--gres=gpu:1'),
            *(f'--output={self.logs}/job-%j.txt', *options, script, *arguments),
        ).strip()

    def preempt(self):
        """Runs a job that is more urgent than all others, until it is done."""
        job = self.submit('--wrap=true', partition='urgent')
        self.wait_for(job, 'COMPLETED')

    def output(self, job):
        """What a job has printed."""
        file = self.logs / f'job-{job}.txt'
        return file.read_text() if file.exists() else ''

    def state(self, job):
        """State of a job, and how often it was put back into the queue."""
        text = self.call('scontrol', '--oneliner', 'show', 'job', job)
        state, restarts = (re.search(rf' {key}=(\w+)', text) for key in ('JobState', 'Restarts'))
        return state.group(1), int(restarts.group(1))

    def idle(self):
        """Number of machines without a job."""
        asked = ('sinfo', '--noheader', '--Node', '--partition=gpus')
        return self.call(*asked, check=False).count(' idle ')

    def serves(self, name):
        """Whether a job still runs on a machine, also if the controller does not know of it."""
        found = subprocess.run(
            ['ip', 'netns', 'pids', f'casvit-{name}'], capture_output=True, text=True
        )
        commands = (Path('/proc') / process / 'comm' for process in found.stdout.split())
        return any('slurmstepd' in each.read_text() for each in commands if each.exists())

    def wait_for(self, job, state, seconds=180):
        """Waits until a job is in a state and none of it runs any more."""
        self.wait_until(lambda: self.state(job)[0] == state, seconds, job)

    def wait_until(self, condition, seconds, job=''):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.said(job)
            time.sleep(0.2)

    def said(self, job):
        """What a person would look at if something did not happen."""
        logs = [self.log(name).read_text()[-2000:] for name in ADDRESSES]
        if job:
            logs += [str(self.state(job)), self.output(job)]
        return '\n'.join(logs)

    def start_again(self, job):
        """Spares a job that was put back the two minutes for which Slurm lets it wait."""
        self.wait_for(job, 'PENDING')
        self.wait_until(lambda: self.idle() == len(HOSTS), 180)
        self.call('scontrol', 'update', f'JobId={job}', 'StartTime=now')
        self.wait_for(job, 'RUNNING')
