"""Weights of another structure than a model is built with, such as those of fused models."""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.registry import Registry
from torch import nn

from casvit.errors import CheckpointError

STRUCTURES = Registry('structure of weights', locations=['casvit_mm.deploy.fusion'])
"""Functions that rebuild a model in place for weights of another structure, by its name in the
meta of their file. The modules that register them are imported when a file names one."""


def structure_of(checkpoint: dict[str, Any], source: str) -> str | None:
    """The name of the structure that a checkpoint's weights are for; None for the usual one.

    Args:
        checkpoint: What the file holds.
        source: Name of the file, for messages.

    Raises:
        CheckpointError: It is no name.
    """
    meta = checkpoint.get('meta')
    structure = meta.get('structure') if isinstance(meta, Mapping) else None
    if structure is None or isinstance(structure, str):
        return structure
    raise CheckpointError(
        f'{source} is damaged: meta.structure is of type {type(structure).__name__}: expected a '
        f'name ({", ".join(sorted(known_structures()))}).'
    )


def rebuild_for(model: nn.Module, checkpoint: dict[str, Any], strict: bool, source: str) -> None:
    """Gives a model the structure that the weights of a file are for.

    Args:
        model: The model, changed in place.
        checkpoint: What :func:`casvit_mm.models.read_checkpoint` returned.
        strict: Whether every weight of the model must come from the file, as no training wants it.
        source: Name of the file, for messages.

    Raises:
        CheckpointError: The structure is unknown, or of a model that cannot be trained.
    """
    structure = structure_of(checkpoint, source)
    if structure is None:
        return
    # Not STRUCTURES.get(), which imports what a dotted name names: the name comes from the file.
    rebuild = known_structures().get(structure)
    if rebuild is None:
        raise CheckpointError(
            f'{source} holds weights of a {structure[:40]!r} model, which this version does not '
            f'know; known: {", ".join(sorted(known_structures()))}.'
        )
    if not strict:
        raise CheckpointError(
            f'{source} holds a {structure} model, which can be tested and shown images, but not '
            'trained: start from the checkpoint that it was made from.'
        )
    rebuild(model)


def known_structures() -> dict[str, Callable[[nn.Module], None]]:
    """What rebuilds a model for each structure that is known, by its name."""
    STRUCTURES.import_from_location()
    return STRUCTURES.module_dict
