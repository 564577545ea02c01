"""Clean checkpoints to share: weights and metadata, without the training state."""

import hashlib
import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from casvit.errors import CheckpointError
from casvit.files import write_whole
from casvit.sentences import reason_of
from casvit.tables import LAYOUTS
from casvit_mm.models.checkpoint.content.digests import add_digests
from casvit_mm.models.checkpoint.published_layout import (
    to_native_classifier_key,
    to_native_key,
    to_published_classifier_key,
    to_published_key,
)
from casvit_mm.models.checkpoint.read import read_checkpoint

SUFFIXES = ('.pth', '.safetensors')
# The config of the run is left out: it names folders of the machine that it ran on.
META = ('dataset_meta', 'epoch', 'iter', 'CLASSES', 'PALETTE', 'structure')
CLASSIFIER_HEAD = 'head.fc.weight'


def publish(
    source: str | Path, out: str | Path, *, layout: str = 'native', weights: str = 'model'
) -> Path:
    """Writes a clean checkpoint.

    Args:
        source: Any file that :func:`casvit_mm.models.checkpoint.read_checkpoint` reads.
        out: Output file, ``.pth`` or ``.safetensors``. The first eight digits of the file's
            SHA-256 are inserted before the suffix.
        layout: Names of the weights: ``'native'``, those of this package, or ``'published'``,
            those of the authors' files, which other CAS-ViT code reads. The latter stores a
            classifier under ``model``, and a detector or segmentor under ``state_dict``.
        weights: Which weights to use, as for ``read_checkpoint``.

    Returns:
        The file that was written.

    Raises:
        CheckpointError: The source cannot be read or holds no CAS-ViT, or ``out`` cannot be
            written.
        ValueError: ``layout`` is neither of the two.
    """
    if layout not in LAYOUTS:
        raise ValueError(f'layout={layout!r}: expected {" or ".join(map(repr, LAYOUTS))}')
    out = writable(out)
    checkpoint = read_checkpoint(source, weights=weights)
    meta = clean_meta(checkpoint)
    state = native_weights(checkpoint['state_dict'], str(source))
    if layout == 'published':
        if 'structure' in meta:
            raise CheckpointError(
                f'{source} holds a {meta["structure"]} model, which the published layout has no '
                'names for: publish the checkpoint that it was made from.'
            )
        state = published_weights(state)
    return write_weights(state, meta, out, layout=layout, digest=True)


def writable(out: str | Path) -> Path:
    """Checks the path of a checkpoint to be written.

    Raises:
        CheckpointError: Its suffix is not one of checkpoints.
    """
    out = Path(out).expanduser()
    if out.suffix not in SUFFIXES:
        raise CheckpointError(f'The file {out} must end in {" or ".join(SUFFIXES)}.')
    return out


def clean_meta(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The part of a checkpoint's meta that describes the model, not its training."""
    return {key: value for key, value in (checkpoint.get('meta') or {}).items() if key in META}


def write_weights(
    state: dict[str, Tensor],
    meta: dict[str, Any],
    out: Path,
    *,
    layout: str = 'native',
    digest: bool = False,
) -> Path:
    """Writes weights and meta, completely or not at all.

    Args:
        state: The weights.
        meta: Their metadata.
        out: Output file; see :func:`writable`.
        layout: As for :func:`publish`.
        digest: Whether to add the first eight digits of the file's SHA-256 to its name.

    Returns:
        The file that was written.

    Raises:
        CheckpointError: The file cannot be written.
    """
    state = {key: value.contiguous() for key, value in state.items()}
    if out.suffix == '.safetensors':
        state = _unshared(state)
    content = _serialised(out.suffix, state, meta, layout)
    if digest:
        code = hashlib.sha256(content).hexdigest()[:8]
        out = out.with_name(f'{out.stem}-{code}{out.suffix}')
    try:
        write_whole(out, content)
    except OSError as error:
        raise CheckpointError(f'{out} cannot be written: {reason_of(error)}.') from error
    return out


def native_weights(state: dict[str, Tensor], source: str = 'the checkpoint') -> dict[str, Tensor]:
    """Renames weights of either layout to the names of this package.

    Args:
        state: Weights of a CAS-ViT, alone or in a classifier, detector or segmentor.
        source: Name of their file, for the message.

    Raises:
        CheckpointError: They are not the weights of a CAS-ViT.
    """
    if 'norm.weight' in state and 'patch_embed.0.weight' in state:
        state = {to_native_classifier_key(key): value for key, value in state.items()}
    for prefix in ('backbone.', ''):
        if f'{prefix}patch_embed.0.weight' in state:
            return {_under(prefix, to_native_key, key): value for key, value in state.items()}
        if f'{prefix}stem.0.weight' in state:
            return state
    raise CheckpointError(
        f'{source} holds no CAS-ViT: it has neither stem.0.weight nor patch_embed.'
    )


def published_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames weights to the names of the authors' files.

    Args:
        state: Weights under the names of this package.
    """
    if CLASSIFIER_HEAD in state:
        return {to_published_classifier_key(key): value for key, value in state.items()}
    prefix = 'backbone.' if 'backbone.stem.0.weight' in state else ''
    return {_under(prefix, to_published_key, key): value for key, value in state.items()}


def _unshared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies weights that share memory, which safetensors refuses: heads share convolutions.

    Every name keeps its weights, so a model that shares none can load the file too.
    """
    seen: set[int] = set()
    unshared = {}
    for key, value in state.items():
        memory = value.untyped_storage().data_ptr()
        unshared[key] = value.clone() if memory in seen else value
        seen.add(memory)
    return unshared


def _under(prefix: str, translate: Callable[[str], str], key: str) -> str:
    return prefix + translate(key[len(prefix) :]) if key.startswith(prefix) else key


def _as_json(value: object) -> str | None:
    """A value as safetensors metadata store it; None if JSON cannot represent it."""
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return None


def _serialised(suffix: str, state: dict[str, Tensor], meta: dict[str, Any], layout: str) -> bytes:
    if suffix == '.safetensors':
        described = {key: text for key, value in meta.items() if (text := _as_json(value))}
        return save(state, metadata={'format': 'pt', **described})
    classifier = layout == 'published' and any(re.match(r'head\.(weight|bias)', k) for k in state)
    content = BytesIO()
    torch.save({'meta': meta, 'model' if classifier else 'state_dict': state}, content)
    add_digests(content)
    return content.getvalue()
