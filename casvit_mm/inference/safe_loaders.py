"""The loaders that :mod:`casvit_mm.safe_loading` gives to mmengine."""

import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from casvit.errors import CheckpointError
from casvit.sentences import reason_of
from casvit_mm.inference.saved_config import SavedConfigError, plain_config
from casvit_mm.models.checkpoint.read import read_checkpoint

BACKBONE = 'backbone.'


def load_from_data(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads a file or an address that mmengine's file backends can open.

    Args:
        filename: The file.
        map_location: Device of the tensors, as in ``torch.load``; the CPU if None.

    Returns:
        The content, as data.

    Raises:
        CheckpointError: It cannot be read, or is no checkpoint.
    """
    checkpoint = read_checkpoint(filename, 'cpu' if map_location is None else map_location)
    return _without_code(checkpoint, filename)


def load_from_address(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads a file from the web, which is downloaded once, to where torch keeps its downloads.

    Raises:
        CheckpointError: It cannot be downloaded or read, or is no checkpoint.
    """
    file = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(filename).path).name)
    if is_main_process() and not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(filename, str(file))
        except OSError as error:
            raise CheckpointError(
                f'{filename} cannot be downloaded: {reason_of(error)}.'
            ) from error
    barrier()
    return load_from_data(str(file), map_location)


def load_from_torchvision(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads weights of torchvision, by their name.

    Raises:
        CheckpointError: As for :func:`load_from_address`, or the name is unknown.
    """
    return _load_by_name(filename, get_torchvision_models(), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads weights of OpenMMLab's list, by their name.

    Raises:
        CheckpointError: As for :func:`load_from_address`, or the name is unknown.
    """
    start, _, name = filename.partition('://')
    name = get_deprecated_model_names().get(name, name)
    return _load_by_name(f'{start}://{name}', get_external_models(), map_location)


def load_from_mmcls(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads the backbone of a classifier of OpenMMLab's list, by its name.

    Raises:
        CheckpointError: As for :func:`load_from_address`, or the name is unknown.
    """
    checkpoint = _load_by_name(filename, get_mmcls_models(), map_location)
    weights = checkpoint['state_dict'].items()
    return {
        'state_dict': {
            key.removeprefix(BACKBONE): value for key, value in weights if key.startswith(BACKBONE)
        }
    }


def load_from_nowhere(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Refuses an address that is not read here.

    Raises:
        CheckpointError: Always.
    """
    raise CheckpointError(f'{filename} is not read here: download the file, and name that.')


def _load_by_name(filename: str, known: Mapping[str, str], map_location: Any) -> dict[str, Any]:
    name = filename.partition('://')[2]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f' Did you mean {near[0]}?' if near else ''
        raise CheckpointError(f'{filename}: there are no weights of this name.{hint}')
    address = known[name]
    if '://' in address:
        return load_from_address(address, map_location)
    home = os.environ.get('MMENGINE_HOME') or Path(
        os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'mmengine'
    )
    return load_from_data(str(Path(home, address)), map_location)


def _without_code(checkpoint: dict[str, Any], source: str) -> dict[str, Any]:
    """A checkpoint whose config is data: mmengine's inferencers execute it."""
    hub = checkpoint.get('message_hub')
    places = [checkpoint.get('meta'), hub.get('runtime_info') if isinstance(hub, dict) else None]
    for place in places:
        if not isinstance(place, dict) or place.get('cfg') is None:
            continue
        try:
            place['cfg'] = plain_config(place['cfg'], source)
        except SavedConfigError as error:
            del place['cfg']
            print_log(f'{error} It is left out.', logger='current', level=logging.WARNING)
    return checkpoint
