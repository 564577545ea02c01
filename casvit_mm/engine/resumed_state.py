"""Checks the training state, beyond weights, in a checkpoint that a run resumes from."""

import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from casvit_mm.models.checkpoint import CheckpointError

HUB = ('log_scalars', 'runtime_info', 'resumed_keys')


def check_resumable(checkpoint: Mapping[str, Any], source: str) -> None:
    """Stops if a checkpoint holds only weights.

    Args:
        checkpoint: Content of the file.
        source: Its name, for the message.

    Raises:
        CheckpointError: The state of the training run is missing or incomplete.
    """
    meta = checkpoint.get('meta') or {}
    lacking = [f'meta.{key}' for key in ('epoch', 'iter') if key not in meta]
    hub = checkpoint.get('message_hub')
    for key in HUB:
        if not isinstance(hub, Mapping) or not isinstance(hub.get(key), Mapping):
            lacking.append(f'message_hub.{key}')
    if lacking:
        raise CheckpointError(
            f'{source} does not hold the state of a training run ({", ".join(lacking)} missing), '
            'so no run can be resumed from it. To start a new run from its weights, leave out '
            f'--resume and add --cfg-options resume=False load_from={source}.'
        )


def drop_foreign_state(checkpoint: dict[str, Any], folders: Iterable[str]) -> None:
    """Removes, in place, entries that could make the run delete files.

    mmengine deletes the best checkpoint that ``message_hub`` names, a file or a folder, as soon as
    there is a better one. The config of the run that wrote the file would also end up in the
    checkpoints of this run.

    Args:
        checkpoint: Content of the file.
        folders: Folders where this run writes checkpoints, and may delete them.
    """
    hub = checkpoint.get('message_hub')
    if not isinstance(hub, dict) or not isinstance(hub.get('runtime_info'), Mapping):
        return
    own = {_real(folder) for folder in folders}
    hub['runtime_info'] = {
        key: value
        for key, value in hub['runtime_info'].items()
        if isinstance(key, str) and _is_usable(key, value, own)
    }


def _is_usable(key: str, value: object, folders: set[str]) -> bool:
    if key == 'cfg':
        return False
    if key.startswith('best_ckpt'):
        return isinstance(value, str) and _is_best_checkpoint(value, folders)
    if key.startswith('best_score'):
        return isinstance(value, Real)
    if key == 'keep_ckpt_ids':
        return isinstance(value, list) and all(isinstance(each, Integral) for each in value)
    return True


def _is_best_checkpoint(path: str, folders: set[str]) -> bool:
    folder, name = os.path.split(path)
    ours = name.startswith('best_') and name.endswith('.pth') and not Path(path).is_dir()
    return ours and _real(folder) in folders


def _real(folder: str) -> str:
    return folder.rstrip('/') if '://' in folder else os.path.realpath(folder)
