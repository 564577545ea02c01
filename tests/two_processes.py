"""Runs a function in two processes of a distributed run over gloo, as started by torchrun."""

import os
import socket
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import distributed, multiprocessing


def in_two_processes(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function in both processes; an error in either is raised here.

    Args:
        function: A function at the top level of a module.
        arguments: Its arguments, which must be picklable.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    # A new process would import everything again; one that uses a GPU cannot be forked.
    forks = sys.platform == 'linux' and not torch.cuda.is_available()
    # The two compute on the CPU: a machine may have one GPU only.
    with patch.dict(os.environ, CUDA_VISIBLE_DEVICES=''):
        multiprocessing.start_processes(
            _process,
            (port, function, arguments),
            nprocs=2,
            start_method='fork' if forks else 'spawn',
        )


def _process(rank: int, port: int, function: Callable[..., None], arguments: tuple) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    # A forked process has none of the threads that its parent computed with.
    torch.set_num_threads(1)
    distributed.init_process_group('gloo')
    try:
        function(*arguments)
    except BaseException:
        distributed.destroy_process_group()
        raise
    sys.stdout.flush()
    sys.stderr.flush()
    # Where torch 2.1 takes the group down, it can wait forever: it keeps Python's lock, for which a
    # thread of the group waits.
    os._exit(0)
