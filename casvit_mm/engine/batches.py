"""Batches that are too small for the norms of a model."""

from itertools import pairwise
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn
from torch.utils.data import DataLoader

from casvit.errors import UserError


class BatchTooSmallError(UserError, ValueError):
    """A run has a batch that the model cannot be trained with."""


def smallest_batch(model: nn.Module) -> int:
    """The smallest batch that a model can be trained with: 2 with norms of pooled features, else 1.

    A batch norm has nothing to compute its statistics from if each channel has one value: after
    features were pooled to a single position, in a batch of one image. Norms that are synchronised
    with other processes have their values too.

    Args:
        model: The model.
    """
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            for layer, behind in pairwise(module):
                if _pools_all(layer) and any(map(_has_only_its_batch, behind.modules())):
                    return 2
    return 1


def why_small_batches_fail(name: str, smallest: int) -> str:
    """The reason, as a clause of a sentence.

    Args:
        name: What the user calls the model.
        smallest: The smallest batch that it can be trained with.
    """
    return (
        f'{name} pools features to a single value and normalises it over the batch, which needs at '
        f'least {smallest} images'
    )


def require_batches(model: nn.Module, loader: DataLoader, steps: int | None = None) -> None:
    """Checks that all batches of a run are large enough for the norms of a model.

    Args:
        model: The model.
        loader: The training data. Samplers that never end, as mmengine's InfiniteSampler, make
            full batches only.
        steps: Steps of the run, if a run may end before all images were seen once.

    Raises:
        BatchTooSmallError: The batch size is too small, or the last batch of an epoch is.
    """
    batches: Any = loader.batch_sampler
    size = getattr(batches, 'batch_size', None)
    sampler = getattr(batches, 'sampler', None)
    if size is None or sampler is None:
        return
    smallest = smallest_batch(model)
    reason = why_small_batches_fail(type(model).__name__, smallest)
    if size < smallest:
        raise BatchTooSmallError(
            f'train_dataloader.batch_size={size} is too small: {reason}. Set '
            f'train_dataloader.batch_size={smallest} or more.'
        )
    if isinstance(sampler, InfiniteSampler) or getattr(batches, 'drop_last', False):
        return
    images = len(sampler)
    last = images % size
    if 0 < last < smallest and (steps is None or steps > images // size):
        raise BatchTooSmallError(
            f'The last batch of an epoch would have {last} of the {images} images, with '
            f'train_dataloader.batch_size={size}: {reason}. Set train_dataloader.drop_last=True, '
            'or another batch size.'
        )


def _has_only_its_batch(module: nn.Module) -> bool:
    if isinstance(module, nn.SyncBatchNorm) and get_world_size() > 1:
        return False
    return isinstance(module, _BatchNorm)


def _pools_all(layer: nn.Module) -> bool:
    return isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
