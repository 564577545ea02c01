"""Unpickles a file of weights that the user trusts."""

from pathlib import Path
from typing import Any

import torch

from casvit.errors import CheckpointError
from casvit.names import printable
from casvit_mm.models.checkpoint.content import read_content
from casvit_mm.models.checkpoint.content.reading import START
from casvit_mm.models.checkpoint.content.tensors_only import is_safetensors


def unpickled(local: Path, name: str, map_location: Any) -> Any:
    """Loads a file with torch, which runs whatever code it names.

    Args:
        local: The file.
        name: Its name, for messages.
        map_location: As for ``torch.load``.

    Raises:
        CheckpointError: It cannot be loaded.
        OSError: It cannot be opened.
    """
    with local.open('rb') as file:
        start = file.read(START)
    if is_safetensors(start, local.stat().st_size):
        return read_content(local, name, map_location)
    try:
        return torch.load(local, map_location=map_location, weights_only=False)
    except OSError:
        raise
    except Exception as error:
        reason = printable(str(error).partition('\n')[0]) or type(error).__name__
        raise CheckpointError(f'The file {name} cannot be unpickled: {reason}.') from error
