"""Changes that commands make to a config: its data root and its pretrained weights."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import CliError
from casvit_mm.config.view import ConfigView


def reroot(cfg: Config, root: str) -> None:
    """Sets a new data root for every dataset of a config and its evaluators.

    Args:
        cfg: The config, changed in place.
        root: The new root.

    Raises:
        CliError: The config has no dataset.
    """
    if root.startswith('~'):
        root = str(Path(root).expanduser())
    old_roots = set()
    view = ConfigView(cfg)
    datasets = list(view.datasets())
    for dataset in datasets:
        if dataset.get('data_root'):
            old_roots.add(dataset['data_root'])
        dataset['data_root'] = root
    if cfg.get('data_root'):
        old_roots.add(cfg.data_root)
        cfg.data_root = root
    if not old_roots:
        raise CliError(f'The config {cfg.filename} has no dataset that --data-root could move.')
    # The longest first, because one root may lie inside another.
    ordered = sorted(old_roots, key=len, reverse=True)
    for dataset in datasets:
        _move_paths(dataset, ordered, root, skip=('pipeline', 'data_root'))
    for split in ('val', 'test'):
        _move_paths(view.evaluators(split), ordered, root)


def start_from_scratch(cfg: Config) -> str:
    """Makes a config train without pretrained weights.

    The initial normalisation statistics (mean 0, variance 1) do not match random weights, so they
    are trained too.

    Args:
        cfg: The config, changed in place.

    Returns:
        A sentence that describes the changes.

    Raises:
        CliError: The model has no backbone.
    """
    if ConfigView(cfg).model.get('backbone') is None:
        raise CliError(f'The config {cfg.filename} has no model.backbone to train from scratch.')
    drop_pretrained(cfg.model)
    cfg.model.backbone['norm_eval'] = False
    return (
        'From scratch: the backbone starts from random weights, and its batch norm statistics '
        'are trained (norm_eval=False).'
    )


def drop_pretrained(model: MutableMapping[str, Any]) -> None:
    """Removes the pretrained weights from a model config, in place.

    Args:
        model: The config. Classifiers load pretrained weights as a whole, other models in their
            backbone.
    """
    # Not every class takes an init_cfg. A shallow copy of a model shares its backbone.
    if model.get('init_cfg'):
        model['init_cfg'] = None
    if (model.get('backbone') or {}).get('init_cfg'):
        model['backbone'] = {**model['backbone'], 'init_cfg': None}


def _move_paths(node: Any, old_roots: list[str], root: str, skip: tuple[str, ...] = ()) -> None:
    """Rewrites, in place, every path in a config that lies under one of the old roots."""
    items = node.items() if isinstance(node, dict) else enumerate(node or ())
    for key, value in list(items):
        if key in skip:
            continue
        if isinstance(value, (dict, list)):
            _move_paths(value, old_roots, root)
        elif isinstance(value, str):
            for old in old_roots:
                if value and _lies_under(value, old):
                    inside = Path(os.path.relpath(value, old)).as_posix()
                    # A root may be a URL, which Path would change.
                    node[key] = root if inside == '.' else f'{root.rstrip("/")}/{inside}'
                    break


def _lies_under(path: str, root: str) -> bool:
    path, root = os.path.normpath(path), os.path.normpath(root)
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
