"""Reads ``.safetensors`` files with their own library, after bounding the header."""

import json
from pathlib import Path
from typing import IO, Any

from safetensors import safe_open

from casvit_mm.models.checkpoint.content.limits import SAFETENSORS_HEADER_BYTES
from casvit_mm.models.checkpoint.content.problems import ContentError, TooLargeError
from casvit_mm.models.checkpoint.content.tree import check_tree

LENGTH_BYTES = 8
"""Bytes of the length of the header, in front of it."""


def is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file starts like one of safetensors: a length, and a header of JSON.

    Args:
        start: Its first bytes.
        size: Its size in bytes.
    """
    length = int.from_bytes(start[:LENGTH_BYTES], 'little')
    return start[LENGTH_BYTES : LENGTH_BYTES + 1] == b'{' and length + LENGTH_BYTES <= size


def safetensors_content(
    file: IO[bytes], size: int, local: Path, map_location: Any
) -> dict[str, Any]:
    """Reads the weights and the metadata of a file.

    Args:
        file: The file, at its start.
        size: Its size in bytes.
        local: Its path.
        map_location: Device of the tensors; others than a name mean the CPU.

    Returns:
        The weights under ``state_dict``, and the metadata under ``meta``.

    Raises:
        TooLargeError: Its header is too large.
    """
    length = int.from_bytes(file.read(LENGTH_BYTES), 'little')
    if length > SAFETENSORS_HEADER_BYTES:
        raise TooLargeError(f'its header takes {length:,} bytes')
    device = map_location if isinstance(map_location, str) else 'cpu'
    with safe_open(local, framework='pt', device=device) as weights:
        state = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        meta = {key: _decoded(text) for key, text in (weights.metadata() or {}).items()}
    return {'state_dict': state, 'meta': meta}


def _decoded(text: str) -> Any:
    """A value of the header, which can hold only strings; text that is no JSON stays."""
    try:
        value = json.loads(text)
        check_tree(value)
    except (ValueError, RecursionError, ContentError):
        return text
    return value
