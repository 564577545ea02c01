"""Checks values of a config that mmengine refuses late, without a reason, or not at all."""

import difflib
import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from mmengine.runner.priority import Priority

from casvit.errors import CliError
from casvit.sentences import short, some
from casvit.tables import SPLITS
from casvit_mm.config.view import ConfigView, as_list, nested, type_name
from casvit_mm.registration import registered_class

LOADERS = tuple(f'{split}_dataloader' for split in SPLITS)
DICTS = (
    *('model', *LOADERS, 'train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'default_hooks'),
    *('visualizer', 'env_cfg', 'randomness', 'log_processor', 'auto_scale_lr', 'speed'),
)
"""Keys of a config whose value is a dict."""

NUMBERS = ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr')
"""Keys of a config in which no text stands for a number."""

COUNTS = ('max_epochs', 'max_iters', 'val_interval')
LOOPS = frozenset(('EpochBasedTrainLoop', 'IterBasedTrainLoop', ''))
# Without workers there is nothing to keep or to fill in advance.
OF_WORKERS = dict(persistent_workers=False, prefetch_factor=None)
# mmdet's other transforms move masks with their boxes. These two leave the masks of one image.
BOXES_ONLY = {
    'Mosaic': 'CachedMosaic',
    'MixUp': 'CachedMixUp',
    'RandomAffine': 'RandomResize and RandomCrop',
    'RandomCenterCropPad': 'RandomCrop',
}
"""Transforms of mmdet that support no masks, and what to use instead."""

REPLACED_KEYS = {
    'optimizer_config': 'optim_wrapper',
    'lr_config': 'param_scheduler',
    'runner': 'train_cfg',
    'checkpoint_config': 'default_hooks.checkpoint',
    'log_config': 'default_hooks.logger and visualizer',
    'evaluation': 'train_cfg.val_interval and val_evaluator',
    'data': 'train_dataloader, val_dataloader and test_dataloader',
}
"""Keys that OpenMMLab's versions before mmengine read, and those that replaced them."""

OWN_KEYS = frozenset(
    (
        *('auto_scale_lr', 'base_', 'default_scope', 'find_unused_parameters', 'load_weights'),
        *('runner_type', 'speed', 'tta_model', 'tta_pipeline'),
    )
)


def settle_loaders(cfg: Config) -> None:
    """Drops options of worker processes from dataloaders that have none.

    torch refuses them. ``--cfg-options train_dataloader.num_workers=0`` alone is how people look
    for an error in their data, and it cannot change the base that sets the options.

    Args:
        cfg: The config, changed in place.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if isinstance(loader, dict) and not loader.get('num_workers'):
            for key, value in OF_WORKERS.items():
                if loader.get(key):
                    loader[key] = value


def check_values(cfg: Config) -> None:
    """Stops at values that no run can use.

    Args:
        cfg: The config.

    Raises:
        CliError: A value is invalid; the message names its key and a value that works.
    """
    if 'train_dataloader' not in cfg and isinstance(cfg.get('data'), Mapping):
        found = [key for key in REPLACED_KEYS if key in cfg]
        raise CliError(
            f'The config {cfg.filename} is written for OpenMMLab before mmengine ({some(found)}), '
            'which this version does not read: '
            + '; '.join(f'{key} became {REPLACED_KEYS[key]}' for key in found)
            + '.'
        )
    for key in DICTS:
        _need_dict(cfg, key)
    for path, value in _texts_for_numbers(cfg):
        raise CliError(
            f'{path} is {value!r} in {cfg.filename}, which is a text and not a number: write it '
            f'without quotes. (YAML reads 1e-4 as a text, and 1.0e-4 as a number.)'
        )
    _check_loop(cfg)
    for name in LOADERS:
        _check_loader(cfg, name)
    _check_optimizer(cfg)
    _check_transforms(cfg)
    _check_priorities(cfg)
    _check_run(cfg)


def ignored_keys(cfg: Config) -> list[str]:
    """Notes about keys at the top of a config that look as if they did something.

    Args:
        cfg: The config.

    Returns:
        A sentence for each key: it is nearly the name of one that is read, or one that only older
        versions read.
    """
    read = set(inspect.signature(Runner.__init__).parameters) | OWN_KEYS
    notes = []
    for key, value in cfg.items():
        if key in REPLACED_KEYS and isinstance(value, Mapping) and key != 'data':
            notes.append(f'Note: {key} has no effect any more; use {REPLACED_KEYS[key]}.')
        elif key not in read and isinstance(value, Mapping):
            near = difflib.get_close_matches(key, read, n=1, cutoff=0.9)
            if near:
                notes.append(f'Note: {key} of the config has no effect. Did you mean {near[0]}?')
    return notes


def _need_dict(cfg: Config, key: str) -> None:
    value = cfg.get(key)
    if value is None or isinstance(value, Mapping):
        return
    if isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], Mapping):
        hint = 'is a dict in a list: remove the comma after it, or the brackets around it'
    else:
        hint = f'is {short(value)}: it has to be a dict'
    raise CliError(f'{key} of the config {cfg.filename} {hint}.')


def _texts_for_numbers(cfg: Config) -> Iterator[tuple[str, str]]:
    for key in NUMBERS:
        yield from _texts(cfg.get(key), key)
    for name in LOADERS:
        for key, value in (cfg.get(name) or {}).items():
            if isinstance(value, str):
                yield from _texts(value, f'{name}.{key}')


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Texts in a part of a config that are numbers in quotes."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _texts(value, f'{path}.{index}')
    elif isinstance(node, str) and _is_number(node):
        yield path, node


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_loop(cfg: Config) -> None:
    loop = cfg.get('train_cfg') or {}
    if type_name(loop) not in LOOPS:
        return
    for key in COUNTS:
        value = loop.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CliError(
                f'train_cfg.{key} is {value!r} in {cfg.filename}: it has to be a whole number from '
                '1 on.'
            )


def _check_loader(cfg: Config, name: str) -> None:
    loader = cfg.get(name) or {}
    for key, least in (('batch_size', 1), ('num_workers', 0)):
        value = loader.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise CliError(
                f'{name}.{key} is {value!r} in {cfg.filename}: it has to be a whole number from '
                f'{least} on.'
            )


def _check_optimizer(cfg: Config) -> None:
    """mmengine calls an optimizer that does not exist 'not a callable object'."""
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer = wrapper.get('optimizer')
    kind = optimizer.get('type') if isinstance(optimizer, Mapping) else None
    if not isinstance(kind, str):
        return
    with OPTIMIZERS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        if registered_class(registry, kind) is not None:
            return
    near = difflib.get_close_matches(
        kind.lower(), {name.lower(): name for name in OPTIMIZERS.module_dict}, n=1
    )
    names = [name for name in OPTIMIZERS.module_dict if name.lower() in near]
    hint = f'Did you mean {names[0]!r}? If' if names else 'If'
    raise CliError(
        f'optim_wrapper.optimizer of {cfg.filename} has type={kind!r}, which is not registered. '
        f'{hint} it is your own class, add its module to custom_imports, together with '
        "'casvit_mm'."
    )


def _check_transforms(cfg: Config) -> None:
    """mmdet's transforms for boxes alone stop at masks, or give them to other boxes."""
    if ConfigView(cfg).scope != 'mmdet':
        return
    parts = list(nested((cfg.get('train_dataloader') or {}).get('dataset')))
    if not any(type_name(part) == 'LoadAnnotations' and part.get('with_mask') for part in parts):
        return
    for part in parts:
        if other := BOXES_ONLY.get(type_name(part)):
            raise CliError(
                f'The training pipeline of {cfg.filename} loads masks, but its transform '
                f'{type_name(part)} supports boxes only: use {other} instead, or leave it out.'
            )


def _check_priorities(cfg: Config) -> None:
    """mmengine calls a priority that does not exist a missing key."""
    hooks = [*as_list(cfg.get('custom_hooks') or []), *(cfg.get('default_hooks') or {}).values()]
    for hook in hooks:
        priority = hook.get('priority') if isinstance(hook, Mapping) else None
        if isinstance(priority, str) and priority.upper() not in Priority.__members__:
            raise CliError(
                f'The hook {type_name(hook)} of {cfg.filename} has priority={priority!r}: expected '
                f'one of {", ".join(Priority.__members__)}, or a number from 0 to 100.'
            )


def _check_run(cfg: Config) -> None:
    level, seed = cfg.get('log_level'), (cfg.get('randomness') or {}).get('seed')
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        raise CliError(f'log_level is {level!r} in {cfg.filename}: expected INFO, WARNING …')
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise CliError(f'randomness.seed is {seed!r} in {cfg.filename}: expected a whole number.')
