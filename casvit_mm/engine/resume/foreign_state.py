"""Checks the training state, beyond weights, in a checkpoint that a run resumes from."""

import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mmengine.logging import HistoryBuffer

from casvit.files import is_file
from casvit_mm.models.checkpoint import CheckpointError
from casvit_mm.models.checkpoint.content import Name, Record

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


def check_progress(checkpoint: Mapping[str, Any], max_iters: int, source: str) -> None:
    """Stops if a checkpoint is from beyond the end of a run that counts iterations.

    Such a run goes through the images of all iterations before it continues.

    Args:
        checkpoint: Content of the file.
        max_iters: Iterations of the run.
        source: Name of the file, for the message.

    Raises:
        CheckpointError: It has more iterations behind it than the run has.
    """
    done = checkpoint['meta']['iter']
    if done > max_iters:
        raise CheckpointError(
            f'{source} is from iteration {done:,}, and this run ends after {max_iters:,}: there is '
            'nothing left to train.'
        )


def drop_foreign_state(checkpoint: dict[str, Any], folders: Iterable[str]) -> None:
    """Removes, in place, entries that could make the run delete files, and what is no history.

    mmengine deletes the best checkpoint that ``message_hub`` names, a file or a folder, as soon as
    there is a better one. The config of the run that wrote the file would also end up in the
    checkpoints of this run. A history under an odd name, or something else in its place, would
    reach the terminal and the log.

    Args:
        checkpoint: Content of the file.
        folders: Folders where this run writes checkpoints, and may delete them. A best checkpoint
            of the same name in one of them replaces one elsewhere: the run may have been moved.
    """
    hub = checkpoint.get('message_hub')
    if not isinstance(hub, dict) or not isinstance(hub.get('runtime_info'), Mapping):
        return
    folders = list(folders)
    own = {_real(folder) for folder in folders}
    if isinstance(hub.get('log_scalars'), Mapping):
        hub['log_scalars'] = {
            key: value
            for key, value in hub['log_scalars'].items()
            if _is_name(key) and isinstance(value, HistoryBuffer)
        }
    if isinstance(hub.get('resumed_keys'), Mapping):
        hub['resumed_keys'] = {
            key: value
            for key, value in hub['resumed_keys'].items()
            if _is_name(key) and isinstance(value, bool)
        }
    hub['runtime_info'] = {
        key: value
        for key, named in hub['runtime_info'].items()
        for value in [_moved(key, named, folders) if _is_name(key) else named]
        if _is_name(key) and _is_usable(key, value, own) and _is_data(value)
    }


def _moved(key: str, value: object, folders: list[str]) -> object:
    """The best checkpoint in a folder of this run, if that is where its file is now."""
    if not key.startswith('best_ckpt') or not isinstance(value, str) or '://' in value:
        return value
    found = [Path(folder, Path(value).name) for folder in folders if '://' not in folder]
    return next((str(path) for path in found if is_file(path)), value)


def _is_data(value: object) -> bool:
    """Whether a value holds no record: the next checkpoint would hold it, and not be readable."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, (Record, Name)):
            return False
        if isinstance(each, (dict, list, tuple)) and id(each) not in seen:
            seen.add(id(each))
            waiting += each.values() if isinstance(each, dict) else each
    return True


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isprintable()


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
