"""Functions that train and test share: build the runner of a config, and print on rank 0."""

import contextlib
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from casvit.cli import loading
from casvit.errors import CheckpointError, CliError
from casvit.names import printable_lines
from casvit.sentences import some
from casvit.terminal.screen import Screen
from casvit_mm.engine.checkpoints import noted_checkpoint, traces_of_run
from casvit_mm.engine.hooks.screen import ScreenHook
from casvit_mm.engine.launch import join_run
from casvit_mm.engine.runner import CASViTRunner
from casvit_mm.engine.terminal import (
    current_screen,
    on_screen,
    show_on_screen,
    write_to_log,
)


def join(cfg: Config, args: Namespace) -> None:
    """Joins the distributed run that --launcher names; see :func:`join_run`.

    Args:
        cfg: The config of the run, changed in place.
        args: Those that :func:`casvit.cli.arguments.add_launcher` adds.

    Raises:
        LaunchError: The run cannot be joined.
    """
    # mmengine reads the variable; the launcher may have set it already.
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    join_run(cfg, args.launcher)


LEAST_SPACE = 2**14
"""Bytes that a run needs at the very least, for its log and its config."""
# mmengine needs all keys of a group in a config, or none of them.
TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def require_runnable(cfg: Config) -> None:
    """Stops early if a config lacks a key that every run needs.

    Raises:
        CliError: A key is missing; the message names it.
    """
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    for keys in TOGETHER:
        missing = [key for key in keys if cfg.get(key) is None]
        if missing and len(missing) < len(keys):
            present = [key for key in keys if key not in missing]
            raise CliError(
                f'The config {cfg.filename} has {" and ".join(present)}, but no '
                f'{" and no ".join(missing)}: set all three or none of them.'
            )


def require_work_dir(cfg: Config) -> None:
    """Stops early if nothing can be written into the folder of a run.

    Raises:
        CliError: It cannot be created, is not writable, or its disk is full.
    """
    folder = Path(cfg.work_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = '' if os.access(folder, os.W_OK) else 'it is not writable'
        if not reason:
            _try_to_write(folder)
    except OSError as error:
        reason = 'it is a file' if folder.is_file() else error.strerror or str(error)
    if reason:
        raise CliError(
            f'The work dir {folder} cannot be used: {reason}. Name another one with --work-dir DIR.'
        )


def _try_to_write(folder: Path) -> None:
    """Writes a small file, and removes it: a disk may be full, or nobody may write to it."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix='.space') as file:
        file.write(bytes(LEAST_SPACE))
        file.flush()


def require_new_run(work_dir: str | Path, advice: str) -> None:
    """Stops if a folder has checkpoints of another run, which a new one would replace.

    Args:
        work_dir: The folder.
        advice: How to go on with that run.

    Raises:
        CliError: It has.
    """
    if names := traces_of_run(work_dir):
        raise CliError(
            f'The work dir {work_dir} has checkpoints of a run ({some(names, quoted=False)}), '
            f'which a new run would replace. {advice}, name another folder with --work-dir DIR, '
            'or add --overwrite to train over them.'
        )


def require_saved(runner: Runner) -> None:
    """Stops if the last checkpoint of a finished run could not be written.

    Args:
        runner: The runner, after training.

    Raises:
        CheckpointError: It is not on disk.
    """
    for hook in runner.hooks:
        if reason := getattr(hook, 'unsaved', ''):
            last = noted_checkpoint(runner.work_dir)
            raise CheckpointError(
                f'Training has finished, but its last checkpoint is lost: {reason}. '
                + (f'The last one that is whole is {last}.' if last else 'There is none before it.')
            )


def build_runner(cfg: Config) -> Runner:
    """Builds the runner that a config names, or by default this package's runner."""
    runner = RUNNERS.build(cfg) if cfg.get('runner_type') else CASViTRunner.from_cfg(cfg)
    # A runner of another class has logged to the terminal while it was built.
    show_on_screen(runner.logger)
    for text in loading.printed:
        write_to_log(runner.logger, f'Printed while importing libraries: {text}')
    loading.printed.clear()
    if screen := current_screen():
        runner.register_hook(ScreenHook(screen))
    return runner


@contextlib.contextmanager
def shown(screen: Screen, *, debug: bool, tables: bool = False) -> Iterator[None]:
    """Context in which a runner is built and runs, shown on a screen.

    Args:
        screen: The screen.
        debug: Whether to show the complete log instead.
        tables: Whether to show tables of results by class.
    """
    if debug:
        yield
        return
    with on_screen(screen, tables=tables):
        yield


def say(text: str) -> None:
    """Prints a line, on rank 0 only."""
    if os.environ.get('RANK', '0') == '0':
        print(printable_lines(text), flush=True)
