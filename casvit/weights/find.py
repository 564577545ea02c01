"""Finds published weights by name: ``casvit://NAME`` stands for a file of this machine."""

import difflib
import os
import re
from pathlib import Path

from casvit.errors import CheckpointError
from casvit.files import is_file
from casvit.tables import PUBLISHED_WEIGHTS, PublishedWeights

SCHEME = 'casvit://'
FOLDER_VARIABLE = 'CASVIT_WEIGHTS'
FOLDER = 'checkpoints'
# A Path has one slash where the name had two.
_NAMED = re.compile(r'casvit:[/\\]{1,2}(.*)', re.DOTALL)


def weights_folder() -> Path:
    """The folder into which weights are downloaded: ``$CASVIT_WEIGHTS``, else ``checkpoints``."""
    return _folders()[0]


def published_weights(name: str) -> PublishedWeights:
    """Looks up published weights.

    Args:
        name: Their name, without the scheme.

    Raises:
        CheckpointError: There are none of that name; the message suggests similar names.
    """
    if name in PUBLISHED_WEIGHTS:
        return PUBLISHED_WEIGHTS[name]
    near = difflib.get_close_matches(name.lower(), PUBLISHED_WEIGHTS, n=3, cutoff=0.5)
    advice = f'Did you mean {" or ".join(near)}? ' if near else ''
    raise CheckpointError(
        f'There are no published weights named {name!r}. {advice}`casvit weights` lists all names.'
    )


def find_weights(weights: PublishedWeights) -> Path | None:
    """Finds the file of published weights in ``$CASVIT_WEIGHTS`` or ``checkpoints``.

    Returns:
        The file; None if it is in neither folder.
    """
    files = (folder / weights.file_name for folder in _folders())
    return next((file for file in files if is_file(file)), None)


def named_weights(path: str | os.PathLike) -> PublishedWeights | None:
    """The published weights that a path names.

    Args:
        path: ``casvit://NAME``, or any other path.

    Returns:
        The weights; None for any other path.

    Raises:
        CheckpointError: There are no published weights of that name.
    """
    match = _NAMED.fullmatch(os.fspath(path))
    return published_weights(match[1]) if match else None


def local_path(path: str | os.PathLike) -> str:
    """The path of a checkpoint, with the file of published weights in place of their name.

    Args:
        path: ``casvit://NAME``, or any other path.

    Returns:
        The file of the name; any other path as it is.

    Raises:
        CheckpointError: The name is unknown, or its file is not on this machine; the message says
            how to get it.
    """
    weights = named_weights(path)
    if weights is None:
        return os.fspath(path)
    file = find_weights(weights)
    if file is None:
        raise CheckpointError(absent(weights))
    return str(file)


def absent(weights: PublishedWeights) -> str:
    """The sentences about published weights that are not on this machine."""
    places = ' or '.join(map(str, _folders()))
    return (
        f'The published weights {weights.name} are not on this machine: there is no '
        f'{weights.file_name} in {places}. `casvit weights get {weights.name}` downloads them.'
    )


def _folders() -> list[Path]:
    """The folders with weights; they are downloaded into the first."""
    usual = Path(FOLDER)
    chosen = os.environ.get(FOLDER_VARIABLE)
    return [Path(chosen).expanduser(), usual] if chosen else [usual]
