"""Norms that a run can train."""

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from torch import nn


def with_trainable_norms(model: nn.Module) -> nn.Module:
    """Replaces synchronised batch norms with ordinary ones if there is nothing to synchronise.

    Args:
        model: The model, changed in place.

    Returns:
        The model.
    """
    if get_world_size() > 1 and torch.cuda.is_available():
        return model
    if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        print_log('SyncBN becomes BN: this run has one process, or no GPU.', logger='current')
    return revert_sync_batchnorm(model)
