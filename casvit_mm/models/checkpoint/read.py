"""Reads checkpoints: published CAS-ViT files, OpenMMLab files, and ``.safetensors``.

A checkpoint is a dict with ``state_dict`` and whatever else the file holds (``meta``,
``optimizer``, …). Published files keep the key names of the published code; a :class:`CASViT`
translates them itself before any ``load_state_dict``, wherever it is in a model and whichever
code loads it (mmdet's inferencers, for example).

Files are interpreted, never unpickled: they may hold tensors, arrays and plain data, nothing else;
see :mod:`casvit_mm.models.checkpoint.content`. The only way round is to trust them:
:func:`casvit.weights.trust.trusting`.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from mmengine.fileio import get_file_backend, get_local_path
from mmengine.logging import print_log
from torch import Tensor

from casvit.errors import CheckpointError, DamagedCheckpointError
from casvit.sentences import reason_of
from casvit.weights.find import local_path
from casvit.weights.trust import is_trusted
from casvit_mm.models.checkpoint.content import read_content, restored
from casvit_mm.models.checkpoint.content.digests import Verification
from casvit_mm.models.checkpoint.content.problems import DamagedError
from casvit_mm.models.checkpoint.finite import require_finite
from casvit_mm.models.checkpoint.meta import usable_meta
from casvit_mm.models.checkpoint.structures import structure_of
from casvit_mm.models.checkpoint.trusted import unpickled

if TYPE_CHECKING:
    from torch.serialization import MAP_LOCATION

TRAINING_STATE = ('message_hub', 'param_schedulers')
AVERAGES = ('model_ema', 'state_dict_ema')
# torch.compile adds its prefix to keys at any depth, with the prefix of DistributedDataParallel
# on either side of it.
WRAPPERS = re.compile(r'^(?:module\.)+|(?:^|(?<=\.))(?:module\.)*(?:_orig_mod\.)+(?:module\.)*')


def read_checkpoint(
    path: str | Path,
    map_location: 'MAP_LOCATION' = 'cpu',
    weights: str = 'model',
    *,
    tell: Callable[[Verification], object] | None = None,
) -> dict[str, Any]:
    """Reads a checkpoint of any supported layout.

    Args:
        path: A file, ``casvit://NAME`` for published weights, or any URL that mmengine's file
            backends can open. Whatever its suffix, it is a ``.safetensors`` file or one of
            ``torch.save``: ``{'state_dict': …}`` (OpenMMLab), ``{'model': …}`` (published ImageNet
            files), or the bare weights.
        map_location: Device of the tensors, as in ``torch.load``.
        weights: Which weights to use if a file has two sets: ``'model'``, the regular ones, or
            ``'ema'``, their exponential moving average (``model_ema`` of a published ImageNet
            file; a run with OpenMMLab's EMAHook stores it under ``state_dict`` anyway).
        tell: Is called with how the file was verified, once it is read.

    Returns:
        The content of the file, with the weights under ``state_dict`` (without the ``module.`` of
        DistributedDataParallel and the ``_orig_mod.`` of torch.compile in their keys). Objects of
        the file are inert records, except those that a resumed run needs in ``message_hub`` and
        ``param_schedulers``. Values of ``meta`` that are not of the expected type are left out,
        with a warning in the log.

    Raises:
        DamagedCheckpointError: The file is damaged or cannot be opened, or weights in it are NaN
            or infinite.
        CheckpointError: The file does not exist, lacks the requested weights, or holds objects
            that do not belong in a checkpoint.
        ValueError: ``weights`` is neither of the two.
    """
    if weights not in ('model', 'ema'):
        raise ValueError(f"weights={weights!r}: expected 'model' or 'ema'")
    path = local_path(path)
    require_checkpoint(path)
    try:
        with _on_this_machine(path) as local:
            if is_trusted():
                content = unpickled(local, path, map_location)
                if tell is not None:
                    tell(Verification.NONE)
            else:
                content = _restore(read_content(local, path, map_location, tell), path)
    except OSError as error:
        reason = f'cannot be opened: {reason_of(error)}'
        raise DamagedCheckpointError(f'The checkpoint {path} {reason}.', reason) from error
    checkpoint = _with_state_dict(content, path, weights)
    checkpoint['state_dict'] = _without_wrappers(checkpoint['state_dict'], path)
    require_finite(checkpoint['state_dict'], path)
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
        missing = 'is not a regular file' if local.exists() else 'does not exist'
        what = 'is a folder, not a file' if local.is_dir() else missing
        raise CheckpointError(f'The checkpoint {path} {what}.')


def _restore(content: Any, name: str) -> Any:
    """Builds the objects of the training state that a resumed run needs."""
    if not isinstance(content, dict):
        return content
    try:
        return {
            key: restored(value) if key in TRAINING_STATE else value
            for key, value in content.items()
        }
    except DamagedError as error:
        raise DamagedCheckpointError(
            f'The file {name} is damaged: {error}.', f'damaged: {error}'
        ) from error


@contextmanager
def _on_this_machine(path: str) -> Iterator[Path]:
    """The file of a checkpoint; one from an address is downloaded, and deleted afterwards."""
    if '://' not in path:
        yield Path(path).expanduser()
        return
    try:
        get_file_backend(path)
    except (KeyError, ImportError) as error:
        known = isinstance(error, ImportError)
        reason = str(error) if known else 'no such kind of address is known.'
        raise CheckpointError(
            f'The checkpoint {path} cannot be opened: {reason} Download the file, and name that.'
        ) from error
    with get_local_path(path) as local:
        yield Path(local)


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
                f'The file {name} holds two weights for {own!r}, with and without the prefix of a '
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
