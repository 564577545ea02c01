"""Chooses the config that a fine-tuning inherits from: by checkpoint, task, size and device."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from casvit.errors import CheckpointError, CliError
from casvit.files import write_whole
from casvit.tables import CHECKED_TASKS
from casvit_mm.config.read import load_config
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.finetune.start import Start, is_peer, require_size

STANDARD, LIGHT = 'standard', 'light'
# Light heads are narrow enough to train and run on a CPU.
BASES: dict[str, dict[str, str]] = {
    'detection': {
        STANDARD: 'retinanet_casvit-{}_fpn_1x_coco',
        LIGHT: 'retinanet_casvit_light',
    },
    'instance': {
        STANDARD: 'mask_rcnn_casvit-{}_fpn_1x_coco',
        LIGHT: 'mask_rcnn_casvit_light',
    },
    'semantic': {
        STANDARD: 'semantic_fpn_casvit-{}_40k_ade20k-512x512',
        LIGHT: 'semantic_fpn_casvit_light',
    },
    'classification': {STANDARD: 'casvit-{}_8xb128_in1k'},
}
SIZE = 'm'
# A size in which every head comes with the package.
EVERYWHERE = 'm'
FROM_CHECKPOINT = 'model.py'


@dataclass(frozen=True)
class Base:
    """The config to inherit from, before anything is written.

    Attributes:
        task: The task.
        config: The config, resolved, with the size that was chosen.
        resized: What differs from its file because of the size, nested as in ``model``.
        written: The text of the file to inherit from if it is written for this run; else empty.
        notes: Sentences about what was chosen, and how to choose something else.
    """

    task: str
    config: Config
    resized: dict[str, Any] = field(default_factory=dict)
    written: str = ''
    notes: list[str] = field(default_factory=list)

    def placed(self, work_dir: Path) -> Config:
        """The config; if its file is written for this run, it is written to the work dir first."""
        if not self.written:
            return self.config
        file = work_dir / FROM_CHECKPOINT
        write_whole(file, self.written)
        return load_config(str(file))


def choose_base(args: Namespace, start: Start | None) -> Base:
    """Chooses the config to inherit from.

    ``--config`` comes first, then the config in the checkpoint, then the shipped config of the
    checkpoint's head, and last the one for task and device.

    Args:
        args: The parsed arguments: ``task``, ``size``, ``config`` and ``heads``.
        start: The checkpoint to start from, if there is one.

    Raises:
        CliError: The arguments contradict each other, the checkpoint or the config; or the task
            is unknown.
        CheckpointError: The checkpoint holds no CAS-ViT, and the config has no other backbone.
    """
    if start is not None:
        require_size(start, args.size)
    if args.config:
        if args.heads:
            raise CliError('--heads chooses a config, and so does --config: leave out one of them.')
        return _named(args, start)
    task = args.task or _task_of(start)
    if start is not None and start.task == task and start.is_whole(task) and not args.heads:
        return _of_checkpoint(start, task)
    size = args.size or (start and start.size) or SIZE
    heads = args.heads or _affordable(task)
    if heads not in BASES[task]:
        raise CliError(f'--heads {heads} is not for --task {task}: leave it out.')
    notes = []
    if heads == LIGHT and not args.heads:
        notes.append(
            'There is no GPU, so the light heads are trained, which take a fraction of the time; '
            '--heads standard chooses the standard ones.'
        )
    config, resized = _sized(BASES[task][heads], size)
    return Base(task, config, resized, notes=notes)


def _affordable(task: str) -> str:
    """The heads that can be trained on this machine."""
    return LIGHT if LIGHT in BASES[task] and not torch.cuda.is_available() else STANDARD


def _task_of(start: Start | None) -> str:
    tasks = ', '.join(CHECKED_TASKS[:-1]) + f' or {CHECKED_TASKS[-1]}'
    if start is None:
        raise CliError(f'Say what to train with --task: {tasks}.')
    if start.task is None or start.task == 'classification':
        other = 'a head of no known kind' if start.has_head else 'no head'
        raise CliError(
            f'The checkpoint {start.source} holds {"a classifier" if start.task else other}, so '
            f'every task can start from its backbone. Say which one with --task: {tasks}.'
        )
    return start.task


def _named(args: Namespace, start: Start | None) -> Base:
    """The config that --config names, in the size of --size or of the checkpoint."""
    config = load_config(args.config)
    name, task = Path(config.filename).stem, ConfigView(config).task
    if args.task and task != args.task:
        raise CliError(f'The config {name} is for {task}, not for --task {args.task}.')
    backbone = ConfigView(config).model.get('backbone') or {}
    if is_peer(config):
        return _peer(args, start, config, task)
    if type_name(backbone) != 'CASViT':
        raise CliError(
            f'The backbone of the config {name} is {type_name(backbone) or "missing"}, not CASViT: '
            'replace it, and the in_channels of what follows, in a config that inherits from it.'
        )
    if start is not None and start.foreign:
        raise CheckpointError(start.foreign)
    own = backbone.get('arch')
    size = args.size or (start and start.size)
    if not size or size == own:
        return Base(task, config)
    if config.get('casvit_sizes') is None:
        if start is not None and not args.size:
            require_size(start, own if isinstance(own, str) else None, f'of the config {name}')
            return Base(task, config)
        raise CliError(
            f'Size {size.upper()} (--size) does not fit the config {name}, which has its own size '
            'and no casvit_sizes to choose from: leave out --size.'
        )
    return Base(task, config, _resize(config, size))


def _peer(args: Namespace, start: Start | None, config: Config, task: str) -> Base:
    """A config whose backbone is one to compare CAS-ViT with, which has no sizes."""
    size = args.size or (start and start.size)
    if size:
        source = '--size' if args.size else f'the CAS-ViT in {start.source}' if start else ''
        raise CliError(
            f'Size {size.upper()} ({source}) does not fit the config {Path(config.filename).stem}, '
            f'whose backbone is {config.model.backbone.get("name")}: leave it out, or use a config '
            'with a CAS-ViT.'
        )
    return Base(task, config)


def _of_checkpoint(start: Start, task: str) -> Base:
    """The config in a checkpoint; without one, the shipped config of its head."""
    if start.config is not None:
        standard, _ = _sized(BASES[task][STANDARD], EVERYWHERE)
        return Base(task, start.config, written=_text(start, str(standard.filename)))
    notes = [start.refused] if start.refused else []
    config, resized = _sized(start.family, start.size or SIZE)
    return Base(task, config, resized, notes=notes)


def _sized(name: str, size: str) -> tuple[Config, dict[str, Any]]:
    """A shipped config in a size, and what differs from its file."""
    try:
        config = load_config(name.format(size))
    except CliError:
        config = load_config(name.format(EVERYWHERE))
    if config.model.backbone.arch == size:
        return config, {}
    return config, _resize(config, size)


def _resize(config: Config, size: str) -> dict[str, Any]:
    """Changes the size of a model; returns what was changed, without pretrained weights."""
    changes = _without_weights(config.casvit_sizes[size])
    config.merge_from_dict(dict(model=changes))
    return changes


def _without_weights(node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_weights(value) if isinstance(value, Mapping) else value
        for key, value in node.items()
        if key != 'init_cfg'
    }


def _text(start: Start, standard: str) -> str:
    """The text of a config with the model of a checkpoint, for everything else as usual."""
    assert start.config is not None
    model = dict(start.config.model)
    # Stages that were frozen in that run need not be in this one.
    model['backbone'] = {k: v for k, v in model['backbone'].items() if k != 'frozen_stages'}
    parts: dict[str, Any] = dict(model=dict(_delete_=True, **model))
    for key, value in start.recipe.items():
        parts[key] = dict(_delete_=True, **value)
    what = 'model and the optimizer' if start.recipe else 'model'
    return escape_braces(
        f'# The {what} of the checkpoint that the run starts from.\n'
        f'_base_ = {standard!r}\n\n{Config(parts).pretty_text}'
    )
