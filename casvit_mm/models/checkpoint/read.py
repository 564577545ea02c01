"""Reads checkpoints: published CAS-ViT files, OpenMMLab files, and ``.safetensors``.

A checkpoint is a dict with ``state_dict`` and whatever else the file holds (``meta``,
``optimizer``, …). Published files keep the key names of the published code; a :class:`CASViT`
translates them itself before any ``load_state_dict``, wherever it is in a model and whichever
code loads it (mmdet's inferencers, for example).

Files are unpickled with an allow-list: they may hold tensors, arrays and plain records, nothing
else.
"""

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from safetensors import safe_open
from torch import Tensor

from casvit.errors import CheckpointError
from casvit.weights.find import local_path
from casvit_mm.models.checkpoint.meta import usable_meta
from casvit_mm.models.checkpoint.structures import structure_of
from casvit_mm.models.checkpoint.unpickling import ALLOW_LIST, ForbiddenGlobalError

if TYPE_CHECKING:
    from torch.serialization import MAP_LOCATION

AVERAGES = ('model_ema', 'state_dict_ema')
# torch.compile adds its prefix to keys at any depth, with the prefix of DistributedDataParallel
# on either side of it.
WRAPPERS = re.compile(r'^(?:module\.)+|(?:^|(?<=\.))(?:module\.)*(?:_orig_mod\.)+(?:module\.)*')


def read_checkpoint(
    path: str | Path, map_location: 'MAP_LOCATION' = 'cpu', weights: str = 'model'
) -> dict[str, Any]:
    """Reads a checkpoint of any supported layout.

    Args:
        path: A file, ``casvit://NAME`` for published weights, or any URL that mmengine's file
            backends can open. ``.safetensors`` is read as such; anything else is a ``torch.save``
            file: ``{'state_dict': …}`` (OpenMMLab), ``{'model': …}`` (published ImageNet files),
            or the bare weights.
        map_location: Device of the tensors, as in ``torch.load``.
        weights: Which weights to use if a file has two sets: ``'model'``, the regular ones, or
            ``'ema'``, their exponential moving average (``model_ema`` of a published ImageNet
            file; a run with OpenMMLab's EMAHook stores it under ``state_dict`` anyway).

    Returns:
        The content of the file, with the weights under ``state_dict`` (without the ``module.`` of
        DistributedDataParallel and the ``_orig_mod.`` of torch.compile in their keys). Values of
        ``meta`` that are not of the expected type are left out, with a warning in the log.

    Raises:
        CheckpointError: The file does not exist, is not a checkpoint, lacks the requested weights,
            or holds objects that do not belong in a checkpoint.
        ValueError: ``weights`` is neither of the two.
    """
    if weights not in ('model', 'ema'):
        raise ValueError(f"weights={weights!r}: expected 'model' or 'ema'")
    path = local_path(path)
    require_checkpoint(path)
    try:
        with get_local_path(Path(path).expanduser() if '://' not in path else path) as local:
            content = _read_file(Path(local), path, map_location)
    except OSError as error:
        raise CheckpointError(
            f'The checkpoint {path} cannot be opened: {error.strerror or error}.'
        ) from error
    checkpoint = _with_state_dict(content, path, weights)
    checkpoint['state_dict'] = _without_wrappers(checkpoint['state_dict'], path)
    if 'meta' in checkpoint:
        structure_of(checkpoint, f'The file {path}')
        checkpoint['meta'], notes = usable_meta(checkpoint['meta'])
        for note in notes:
            print_log(f'{path}: {note}.', logger='current', level=logging.WARNING)
    return checkpoint


def require_checkpoint(path: str | Path) -> None:
    """Stops early if a checkpoint does not exist; URLs of other machines are not checked.

    Raises:
        CheckpointError: There is no such file.
    """
    path = local_path(path)
    local = Path(path).expanduser()
    if '://' not in path and not local.is_file():
        what = 'is a folder, not a file' if local.is_dir() else 'does not exist'
        raise CheckpointError(f'The checkpoint {path} {what}.')


def _read_file(local: Path, name: str, map_location: 'MAP_LOCATION') -> Any:
    if local.suffix == '.safetensors':
        return _read_safetensors(local, name, map_location)
    try:
        return torch.load(
            local, map_location=map_location, pickle_module=ALLOW_LIST, weights_only=False
        )
    except ForbiddenGlobalError as error:
        raise CheckpointError(
            f'The checkpoint {name} holds an object of type {error}, which is not a weight and '
            'could run code when it is loaded. If you trust the file, save only its weights '
            '(torch.save(model.state_dict(), …)).'
        ) from error
    except OSError:
        raise
    except Exception as error:
        # The unpickler may raise almost anything on a file that was damaged on purpose.
        raise CheckpointError(
            f'The file {name} is not a checkpoint, or it is damaged ({local.stat().st_size:,} '
            f'bytes; {str(error).splitlines()[0] if str(error) else type(error).__name__}). '
            'Expected a torch.save file or .safetensors.'
        ) from error


def _read_safetensors(local: Path, name: str, map_location: 'MAP_LOCATION') -> dict[str, Any]:
    device = map_location if isinstance(map_location, str) else 'cpu'
    try:
        with safe_open(local, framework='pt', device=device) as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            meta = {key: _decode(text) for key, text in (file.metadata() or {}).items()}
            return {'state_dict': weights, 'meta': meta}
    except OSError:
        raise
    except Exception as error:
        raise CheckpointError(
            f'The file {name} is not a safetensors file, or it is damaged: {error}.'
        ) from error


def _decode(text: str) -> Any:
    """Decodes a value of a safetensors header, which can hold only strings."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _with_state_dict(content: object, name: str, weights: str) -> dict[str, Any]:
    """Finds the weights in the content of a file and puts them under ``state_dict``."""
    if isinstance(content, dict):
        # EMAHook saves the average as state_dict, and the weights of training beside it.
        average = weights == 'ema' and 'ema_state_dict' not in content
        for key in AVERAGES if average else ('state_dict', 'model'):
            if _is_weights(content.get(key)):
                others = {name: value for name, value in content.items() if name != key}
                return {**others, 'state_dict': content[key]}
        if average:
            raise CheckpointError(
                f'The file {name} holds no moving average of its weights: expected it under '
                f"{' or '.join(map(repr, AVERAGES))}. Leave out weights='ema' to use the regular "
                'weights.'
            )
        if _is_weights(content):
            return {'state_dict': content}
        found = 'a dict with ' + (', '.join(map(repr, list(content)[:8])) or 'nothing in it')
    else:
        found = f'a {type(content).__name__}'
    raise CheckpointError(
        f"The file {name} holds {found}, but no weights: expected them under 'state_dict' or "
        "'model', or at the top level."
    )


def _without_wrappers(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Removes the prefixes of wrappers, around the model or parts of it, from the keys."""
    plain: dict[str, Tensor] = {}
    for key, value in weights.items():
        own = WRAPPERS.sub('', key)
        if own in plain and plain[own] is not value:
            raise CheckpointError(
                f'The file {name} holds two weights for {own}, with and without the prefix of a '
                'wrapper (module., _orig_mod.). Save the unwrapped model.'
            )
        plain[own] = value
    return plain


def _is_weights(value: object) -> TypeGuard[dict[str, Tensor]]:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )
