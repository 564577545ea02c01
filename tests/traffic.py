"""What the processes of a run send each other in a step: the bytes, and the time that they take."""

import math
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.fileio import dump, load
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import distributed, multiprocessing
from torch.profiler import ProfilerActivity, profile

from casvit_mm.benchmark.subjects import ground_truth
from casvit_mm.config.edit import drop_pretrained
from casvit_mm.config.view import ConfigView
from casvit_mm.engine.launch import RANK_VARIABLES

IMAGE_SIZE = 128
"""Side of the images in pixels; the number of bytes does not depend on it."""
REDUCTION = 'gloo:all_reduce'
BURST = 1 << 18
"""Bytes that a network device with a limit may send at once after a pause."""


@dataclass(frozen=True)
class Traffic:
    """What two processes reduce in a step of training.

    Attributes:
        parameters: Number of parameters that are trained.
        reduced: Bytes of all reductions, as counted.
    """

    parameters: int
    reduced: int

    @property
    def others(self) -> int:
        """Bytes that are not gradients in float32."""
        return self.reduced - 4 * self.parameters


def count_traffic(*configs: str) -> list[Traffic]:
    """Counts what two processes reduce in a step of training, over gloo on this machine.

    Args:
        configs: Files of configs. Their weights are random, and their images noise.

    Returns:
        That of each config.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, 'traffic.json'))
        multiprocessing.spawn(_count_all, (port, configs, file), nprocs=2)
        return [Traffic(**each) for each in load(file)]


def step_seconds(compute: float, size: int, processes: int, bandwidth: float) -> float:
    """Predicts the time of a training step on several machines with one process each.

    Each of n machines sends ``2 (n - 1) / n`` times the gradients, as in a ring. None of it is
    taken to be hidden behind the backward pass.

    Args:
        compute: Seconds of a step on one machine.
        size: Bytes that are reduced.
        processes: The number n of machines.
        bandwidth: Bits per second that each of them sends.
    """
    return compute + 8 * size * 2 * (processes - 1) / processes / bandwidth


def training_step(config: str, image_size: int = IMAGE_SIZE) -> Callable[..., int]:
    """A training step of a config on an image of noise, to be called in a distributed run.

    Args:
        config: File of the config.
        image_size: Side of the image, in pixels.

    Returns:
        A function that computes gradients, reduces them, unless it is called with
        ``reduces=False``, and returns the number of parameters.
    """
    cfg = Config.fromfile(config)
    scope = ConfigView(cfg).scope
    init_default_scope(scope)
    drop_pretrained(cfg.model)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    wrapped = MMDistributedDataParallel(
        model,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    # Some classifiers normalise over a batch.
    images = torch.randn(2, 3, image_size, image_size)
    samples = [ground_truth(scope, image_size) for _ in images]
    trained = [each for each in model.parameters() if each.requires_grad]

    def step(reduces: bool = True) -> int:
        with nullcontext() if reduces else wrapped.no_sync():
            loss, _ = model.parse_losses(wrapped(images, samples, mode='loss'))
            loss.backward()
        model.zero_grad()
        return sum(map(torch.numel, trained))

    return step


def _count_all(rank: int, port: int, configs: tuple[str, ...], file: str) -> None:
    values = (rank, 2, rank, '127.0.0.1', port)
    os.environ.update(zip(RANK_VARIABLES, map(str, values), strict=True))
    torch.set_num_threads(1)
    distributed.init_process_group('gloo')
    found = [asdict(_count(each)) for each in configs]
    if rank == 0:
        dump(found, file)
    distributed.destroy_process_group()


def _count(config: str) -> Traffic:
    step = training_step(config)
    # The first step ends with finding which gradients to send together.
    step()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        parameters = step()
    sizes = [
        math.prod(shape)
        for event in recorded.events() or ()
        if event.name == REDUCTION
        for shape in event.input_shapes
    ]
    return Traffic(parameters, 4 * sum(sizes))
