"""Joins and leaves a distributed run, with or without GPUs."""

import ctypes
import gc
import os
import signal
import sys
import time
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config
from torch import distributed

from casvit.errors import UserError

RANK_VARIABLES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
WORLD_SIZES = {
    'pytorch': 'WORLD_SIZE',
    'slurm': 'SLURM_NTASKS',
    'mpi': 'OMPI_COMM_WORLD_SIZE',
}
# Of <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
RESTARTS = ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')


class LaunchError(UserError, RuntimeError):
    """This process cannot join the distributed run; the message says what to do."""


def join_run(cfg: Config, launcher: str) -> None:
    """Prepares a config and this process for the launcher that started it.

    With GPUs, mmengine does the rest when the runner is built. Without GPUs, ``pytorch`` processes
    are connected here over gloo, which the runner then skips, and DistributedDataParallel is told
    that there are no device ids.

    On Linux, a process of torchrun is killed as soon as torchrun is gone.

    Args:
        cfg: The config of the run, changed in place.
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.

    Raises:
        LaunchError: The launcher did not start this process, or needs GPUs that do not exist.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    if launcher == 'pytorch':
        unset = [name for name in RANK_VARIABLES if name not in os.environ]
        if unset:
            raise LaunchError(
                f'--launcher pytorch needs a process started by torchrun ({", ".join(unset)} '
                'unset): use tools/dist_train.sh or tools/dist_test.sh, or python -m '
                'torch.distributed.run --nproc_per_node=N.'
            )
        _end_with_torchrun()
    elif WORLD_SIZES[launcher] not in os.environ:
        raise LaunchError(
            f'--launcher {launcher} needs a process started by {launcher} '
            f'({WORLD_SIZES[launcher]} is unset).'
        )
    if _has_accelerator():
        _check_local_rank()
        return
    if launcher != 'pytorch':
        raise LaunchError(
            f'--launcher {launcher} needs GPUs, but torch finds none here. To run on CPUs, use '
            '--launcher pytorch.'
        )
    if not distributed.is_initialized():
        seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
        # None would be the usual limit, but torch 2.1 refuses it.
        limit: Any = {} if seconds is None else dict(timeout=timedelta(seconds=seconds))
        distributed.init_process_group('gloo', **limit)
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}


def is_restarted() -> bool:
    """Whether this process continues a run without being asked to.

    torchrun has started it again after one of the run had failed, or Slurm has put its job back
    into the queue.
    """
    return any(os.environ.get(name, '0') != '0' for name in RESTARTS)


def leave_run() -> None:
    """Leaves the distributed run, if this process has joined one.

    Call it once nothing of the run is used any more: whatever still holds the process group, such
    as a wrapped model, keeps its threads alive, and a thread that needs the interpreter while it
    shuts down aborts the process.
    """
    if distributed.is_available() and distributed.is_initialized():
        # Threads of the group may wait for Python's lock, which torch 2.1 keeps while it waits for
        # them.
        time.sleep(0.1)
        distributed.destroy_process_group()
        gc.collect()


def world_size(launcher: str) -> int:
    """Number of processes of the run, also before they are connected."""
    return int(os.environ.get(WORLD_SIZES.get(launcher, ''), 1))


def _end_with_torchrun() -> None:
    """Has the system kill this process when the one that started it is gone.

    Torchrun may be killed before it ends its processes. In a step, they would wait for one another
    until the time limit of the run, half an hour by default, and keep their GPUs.
    """
    if sys.platform != 'linux' or 'TORCHELASTIC_RUN_ID' not in os.environ:
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It was gone before it could be watched.
        os.kill(os.getpid(), signal.SIGKILL)


def _has_accelerator() -> bool:
    from mmengine.device import get_device

    return get_device() not in ('cpu', 'mps')


def _check_local_rank() -> None:
    count, rank = torch.cuda.device_count(), int(os.environ.get('LOCAL_RANK', 0))
    if torch.cuda.is_available() and rank >= count:
        raise LaunchError(
            f'There is no GPU for process {rank} of this machine: torch finds {count}. Start at '
            f'most {count} processes per machine.'
        )
