"""What the numbers of a run depend on, beside its config."""

import platform
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner


def circumstances(runner: Runner) -> dict[str, Any]:
    """What the numbers of a run depend on, beside its config.

    Args:
        runner: The run.
    """
    batches: Any = runner.train_dataloader.batch_sampler
    return {
        'torch': str(torch.__version__),
        'device': next(runner.model.parameters()).device.type,
        'machine': platform.machine(),
        'threads': torch.get_num_threads(),
        'processes': get_world_size(),
        'images per process': getattr(batches, 'batch_size', None),
        'seed': runner.seed,
    }
