"""Checks that an image has enough positions for a detector that chooses its queries among them."""

from typing import Any

from torch import Tensor, nn

from casvit.errors import UserError


class ImageTooSmallError(UserError, ValueError):
    """An image has fewer positions than a detector has queries."""


def check_query_positions(model: nn.Module) -> nn.Module:
    """Makes a detector refuse images that are too small for its queries, in a sentence.

    DINO and Deformable DETR with two stages take the positions with the highest scores as queries;
    with fewer positions than queries, torch fails with an index that is out of range. DDQ takes
    fewer queries then.

    Args:
        model: Any model, changed in place; only such a detector gets the check.

    Returns:
        The model.
    """
    encoder = getattr(model, 'encoder', None)
    chooses = getattr(model, 'as_two_stage', False) and not hasattr(model, 'dqs_cfg')
    if chooses and isinstance(encoder, nn.Module):
        queries = int(model.num_queries)  # type: ignore[arg-type]

        def require(module: nn.Module, inputs: Any, output: Any) -> None:
            # Detectors that read text have an encoder of both: the image comes first.
            memory = output[0] if isinstance(output, tuple) else output
            _require_positions(memory, queries, type(model).__name__)

        encoder.register_forward_hook(require)
    return model


def _require_positions(memory: Tensor, queries: int, name: str) -> None:
    positions = memory.shape[1]
    if positions < queries:
        raise ImageTooSmallError(
            f'{name} chooses {queries} positions of an image as queries (model.num_queries), but '
            f'an image of the batch has {positions} in all its feature levels. Use larger images, '
            'such as 320 pixels a side, in the Resize steps of the pipelines (--image-size of '
            'casvit finetune), or fewer queries.'
        )
