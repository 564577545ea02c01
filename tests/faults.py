"""Runs in processes of their own, to be killed from outside.

Writing a checkpoint can be made slow, so that a signal hits it in the middle.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from exact_runs import exact_run
from mmengine.hooks import Hook

from casvit.cli.errors import present


class Run:
    """A training run in a process of its own, which has a group of its own.

    Args:
        work_dir: Its folder.
        slow: Seconds that each checkpoint takes to be written.
        pace: Seconds that each step takes.
        options: As for :func:`exact_runs.exact_run`.
    """

    def __init__(self, work_dir, *, slow=0.0, pace=0.02, **options):
        Path(work_dir).mkdir(parents=True, exist_ok=True)
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
            _train(work_dir, slow, pace, options)
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


def _train(work_dir, slow, pace, options):
    """Trains, and says each step and each checkpoint that begins or ends."""
    torch.set_num_threads(1)
    save = torch.save

    def save_slowly(content, file, *args, **kwargs):
        print('saving', flush=True)
        save(content, file, *args, **kwargs)
        if slow and isinstance(file, (str, os.PathLike)):
            # As on a slow disk: half of the file is there.
            whole = Path(file).read_bytes()
            os.truncate(file, len(whole) // 2)
            time.sleep(slow)
            Path(file).write_bytes(whole)
        print('saved', flush=True)

    torch.save = save_slowly
    runner = exact_run(work_dir, workers=1, noisy=False, log_level='WARNING', **options)
    runner.register_hook(Tell(pace))
    runner.train()


class Tell(Hook):
    """Says where the run is, and takes its time."""

    priority = 'VERY_HIGH'

    def __init__(self, pace):
        self.pace = pace

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        print('step', runner.iter + 1, flush=True)
        time.sleep(self.pace)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        print('validating', runner.iter, flush=True)
        time.sleep(self.pace)
