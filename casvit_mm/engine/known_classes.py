"""Fine-tuning from a checkpoint that knows some of the classes."""

from collections.abc import Mapping
from logging import Logger
from typing import Any

from torch import nn

from casvit_mm.models.checkpoint.class_rows import keep_known_classes


def keep_classes_of(
    checkpoint: dict[str, Any], metainfo: Mapping[str, Any], model: nn.Module, logger: Logger
) -> None:
    """Adapts the last layers of a checkpoint to the classes that a run trains, in place.

    Args:
        checkpoint: The content of the file.
        metainfo: That of the training dataset.
        model: The model, unwrapped.
        logger: Gets a sentence about the classes that the file knows.
    """
    meta = checkpoint.get('meta') or {}
    old = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES') or ()
    new = metainfo.get('classes') or ()
    if not old or not new:
        return
    checkpoint['state_dict'], known = keep_known_classes(
        checkpoint['state_dict'], model.state_dict(), list(old), list(new)
    )
    if known:
        logger.info(
            f'The checkpoint knows {len(known)} of the {len(new)} classes; their outputs are '
            f'kept: {", ".join(known[:20])}{" …" if len(known) > 20 else ""}.'
        )
