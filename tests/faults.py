"""Runs in processes of their own, to be killed from outside, and damage to what they leave.

Writing a checkpoint can be made slow, so that a signal hits it in the middle, and can fail.
"""

import errno
import functools
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from exact_runs import exact_run
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook

from casvit.cli.errors import present


@functools.cache
def import_everything():
    """Builds a run: each new process would have to import its modules again."""
    with TemporaryDirectory() as folder:
        exact_run(folder)


class Run:
    """A training run in a process of its own, which has a group of its own.

    Args:
        work_dir: Its folder.
        slow: Seconds that each checkpoint takes to be written.
        pace: Seconds that each step takes.
        fault: What happens to checkpoints while it trains: 'the disk is full' or 'writing fails',
            each from a step on.
        since: This step.
        options: As for :func:`exact_runs.exact_run`.
    """

    def __init__(self, work_dir, *, slow=0.0, pace=0.02, fault='', since=0, **options):
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        import_everything()
        self.log = Path(work_dir, 'said.txt')
        self.code = None
        # A new process would import everything again.
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.setsid()
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = map(os.fdopen, (1, 2), 'ww', (1, 1))
            for each in (signal.SIGINT, signal.SIGTERM):
                default = signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL
                signal.signal(each, default)
            _train(work_dir, slow, Tell(pace, fault, since), options)
            os._exit(0)
        except SystemExit as error:
            os._exit(error.code)
        except KeyboardInterrupt as error:
            os._exit(present(error, 'run', debug=False))
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    @property
    def said(self):
        """What the run has said so far, and those before it in the folder."""
        return self.log.read_text() if self.log.exists() else ''

    def poll(self):
        """The exit code, negative after a signal; None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait_for(self, text, seconds=60):
        """Waits until the run has said a text."""
        self._wait(lambda: text in self.said, seconds)
        assert text in self.said, f'{text!r} was not said: {self.said[-3000:]}'

    def wait_for_saves(self, count, seconds=60):
        """Waits until the run has begun to save so many more checkpoints, or has ended."""
        wanted = self.said.count('saving') + count
        self._wait(lambda: self.said.count('saving') >= wanted, seconds)

    def _wait(self, done, seconds):
        end = time.monotonic() + seconds
        while not done() and self.poll() is None and time.monotonic() < end:
            time.sleep(0.002)

    def send(self, number):
        """Sends a signal to the run and its worker processes."""
        if self.poll() is None:
            os.killpg(self.pid, number)

    def ended(self, seconds=60):
        """The exit code."""
        self._wait(lambda: False, seconds)
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f'the run did not end: {self.said[-3000:]}')
        return self.code


def _train(work_dir, slow, tell, options):
    """Trains, and says each step and each checkpoint that begins or ends."""
    torch.set_num_threads(1)
    put = LocalBackend.put

    def put_slowly(backend, content, file):
        print('saving', flush=True)
        if slow or tell.is_failing:
            # As on a slow disk: half of the file is there.
            put(backend, content[: len(content) // 2], file)
            time.sleep(slow)
        if tell.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        put(backend, content, file)
        print('saved', flush=True)

    LocalBackend.put = put_slowly
    runner = exact_run(work_dir, workers=1, noisy=False, log_level='WARNING', **options)
    runner.register_hook(tell)
    runner.train()


class Tell(Hook):
    """Says where the run is, and takes its time.

    Args:
        pace: Seconds that each step takes.
        fault: As for `Run`; none by default.
        since: As for `Run`.
    """

    priority = 'VERY_HIGH'

    def __init__(self, pace, fault='', since=0):
        self.pace, self.fault, self.since = pace, fault, since
        self.is_failing = False

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.fault and runner.iter + 1 == self.since:
            print(self.fault, flush=True)
            self.is_failing = self.fault == 'writing fails'
            if self.fault == 'the disk is full':
                # No file can become as large as a checkpoint.
                resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        print('step', runner.iter + 1, flush=True)
        time.sleep(self.pace)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        print('validating', runner.iter, flush=True)
        time.sleep(self.pace)


ROOM = 8 * 2**10
WHILE_IT_TRAINS = ('the disk is full', 'writing fails')


def flip_bit(work_dir, rng):
    """Flips a bit of the newest checkpoint."""
    file = checkpoints(work_dir)[-1]
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def truncate(work_dir, rng):
    """Cuts the newest checkpoint off."""
    file = checkpoints(work_dir)[-1]
    os.truncate(file, rng.randrange(file.stat().st_size))


def to_nul(work_dir, rng):
    """Replaces the newest checkpoint by as many NULs."""
    file = checkpoints(work_dir)[-1]
    file.write_bytes(bytes(file.stat().st_size))


def remove_note(work_dir, rng):
    """Removes last_checkpoint."""
    Path(work_dir, 'last_checkpoint').unlink()


def change_note(work_dir, rng):
    """Lets last_checkpoint name an older checkpoint, a missing one, or something else."""
    older = rng.choice(checkpoints(work_dir)[:-1]).name
    Path(work_dir, 'last_checkpoint').write_text(rng.choice([older, 'iter_99.pth', '/', '']))


AFTER_THE_KILL = {
    'a bit flipped': flip_bit,
    'truncated': truncate,
    'replaced by NULs': to_nul,
    'last_checkpoint missing': remove_note,
    'last_checkpoint elsewhere': change_note,
}
"""Ways to damage what a killed run has left; each needs two checkpoints."""


def checkpoints(work_dir):
    """The checkpoints of a run that it can be resumed from, the newest last."""
    files = [*Path(work_dir).glob('iter_*.pth'), *Path(work_dir).glob('recent.pth')]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns)
