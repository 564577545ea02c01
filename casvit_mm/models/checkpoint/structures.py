"""Weights whose structure differs from that of a newly built model, such as fused ones."""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.registry import Registry
from torch import nn

from casvit.errors import CheckpointError

STRUCTURES = Registry('structure of weights', locations=['casvit_mm.deploy.fusion'])
"""Functions that rebuild a model in place for weights of another structure, by the name that the
meta of their file gives. The modules that register them are imported when a file names one."""


def structure_of(checkpoint: dict[str, Any], source: str) -> str | None:
    """Name of the structure of a checkpoint's weights; None for the usual one.

    Args:
        checkpoint: Content of the file.
        source: Name of the file, for messages.

    Raises:
        CheckpointError: The entry is not a string.
    """
    meta = checkpoint.get('meta')
    structure = meta.get('structure') if isinstance(meta, Mapping) else None
    if structure is None or isinstance(structure, str):
        return structure
    raise CheckpointError(
        f'{source} is damaged: meta.structure is of type {type(structure).__name__}, expected a '
        f'name ({", ".join(sorted(known_structures()))}).'
    )


def rebuild_for(model: nn.Module, checkpoint: dict[str, Any], strict: bool, source: str) -> None:
    """Rebuilds a model to match the structure of the weights in a checkpoint.

    Args:
        model: The model, changed in place.
        checkpoint: The result of :func:`casvit_mm.models.read_checkpoint`.
        strict: Whether every weight of the model must come from the file; False in training.
        source: Name of the file, for messages.

    Raises:
        CheckpointError: The structure is unknown, or the model is to be trained.
    """
    structure = structure_of(checkpoint, source)
    if structure is None:
        return
    # STRUCTURES.get() would import whatever a dotted name refers to, and this one is untrusted.
    rebuild = known_structures().get(structure)
    if rebuild is None:
        raise CheckpointError(
            f'{source} holds weights of a {structure[:40]!r} model, which this version does not '
            f'know; known: {", ".join(sorted(known_structures()))}.'
        )
    if not strict:
        raise CheckpointError(
            f'{source} holds a {structure} model, which can be used for testing and inference, but '
            'not trained: start from the checkpoint that it was made from.'
        )
    rebuild(model)


def known_structures() -> dict[str, Callable[[nn.Module], None]]:
    """The functions that rebuild a model, by the name of the structure."""
    STRUCTURES.import_from_location()
    return STRUCTURES.module_dict
