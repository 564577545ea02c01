"""Runs a function in two processes that train together over gloo, as torchrun starts them."""

import os
import socket
from collections.abc import Callable
from typing import Any

from torch import distributed, multiprocessing


def in_two_processes(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function of a module in both; an error in either is raised here.

    Args:
        function: Is given the arguments.
        arguments: Can be pickled.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_process, (port, function, arguments), nprocs=2)


def _process(rank: int, port: int, function: Callable[..., None], arguments: tuple) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    distributed.init_process_group('gloo')
    try:
        function(*arguments)
    finally:
        distributed.destroy_process_group()
