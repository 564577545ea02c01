"""Writes the config of a fine-tuning: a small file that a person reads, and edits.

The files in ``templates`` are that config, with ``<< value >>`` for what depends on the dataset and
the options. What stands here works out these values.
"""

import ast
import keyword
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from mmengine.config import Config

from casvit.errors import CliError
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import ConfigView
from casvit_mm.finetune.plan import Plan

VALIDATIONS = 20
MONITORS = dict(detection='coco/bbox_mAP', instance='coco/segm_mAP', semantic='mIoU')
TEMPLATES = dict(
    detection='objects.py.jinja', instance='objects.py.jinja', semantic='semantic.py.jinja'
)


class Identifier(str):
    """A name that templates write as it is: the only text that does not become a literal."""

    def __new__(cls, name: str) -> 'Identifier':
        """Takes a name.

        Raises:
            ValueError: It is not an identifier.
        """
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f'{name!r} is not a Python identifier.')
        return super().__new__(cls, name)


def config_text(plan: Plan) -> str:
    """The config.

    Args:
        plan: What it is to be.

    Returns:
        Its text: variables that a person may want to change first.

    Raises:
        CliError: The base config is for another task, or its heads cannot be changed.
    """
    _check_task(plan)
    template = _environment().get_template(TEMPLATES[plan.task])
    values = {**_start(plan), **_model(plan), **_data(plan), **_schedule(plan)}
    return escape_braces(template.render(values))


def literal(value: Any) -> Any:
    """Any value of a template as Python source, so that no data can become code.

    Args:
        value: What a template writes.

    Returns:
        The literal of the value; an :class:`Identifier`, and what is not defined, as it is.

    Raises:
        ValueError: The value has no literal.
    """
    if isinstance(value, (Identifier, StrictUndefined)):
        return value
    text = repr(value)
    ast.literal_eval(text)
    return text


def _environment() -> Environment:
    # Unlike jinja's own delimiters, these mean nothing to mmengine, and nothing in a config.
    environment = Environment(
        loader=PackageLoader('casvit_mm.finetune'),
        block_start_string='<%',
        block_end_string='%>',
        variable_start_string='<<',
        variable_end_string='>>',
        comment_start_string='<#',
        comment_end_string='#>',
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=literal,
    )
    environment.filters['identifier'] = Identifier
    return environment


def _check_task(plan: Plan) -> None:
    name, task = Path(plan.base.filename).stem, ConfigView(plan.base).task
    if task != plan.task:
        raise CliError(f'The config {name} is for {task}, not for --task {plan.task}.')


def _start(plan: Plan) -> dict[str, Any]:
    return dict(
        source=str(plan.source),
        base=str(plan.base.filename),
        image_size=plan.image_size,
        batch_size=plan.batch_size,
        workers=plan.workers,
        learning_rate=plan.learning_rate,
        max_epochs=plan.max_epochs,
        work_dir=_absolute(plan.work_dir),
        load_from=_absolute(plan.load_from),
        seed=plan.seed,
        classes=plan.data.classes,
        palette=[tuple(colour) for colour in plan.data.palette],
    )


def _model(plan: Plan) -> dict[str, Any]:
    heads = _heads(plan.base)
    semantic = plan.task == 'semantic'
    ignores = semantic and plan.data.ignore_index != 255
    return dict(
        heads=heads,
        weighted_heads=['decode_head'] if semantic and _class_weights(plan.base) else [],
        ignoring_heads=['decode_head'] if ignores else [],
        ignore_index=plan.data.ignore_index,
        backbone_file=_absolute(plan.backbone_file),
        from_scratch=plan.from_scratch,
        freeze=plan.freeze,
    )


def _heads(base: Config) -> dict[str, Any]:
    """The heads that have num_classes, nested as in the base config."""
    heads: dict[str, Any] = {}
    for dotted, count in ConfigView(base).class_counts():
        _, *path, key = dotted.split('.')
        if any(name.isdigit() for name in path):
            raise CliError(
                f'The config {base.filename} has several heads in a list, and a config that '
                'inherits from it cannot change them one by one: choose another with --config.'
            )
        head = heads
        for name in path:
            head = head.setdefault(name, {})
        head[key] = count
    if not heads:
        raise CliError(f'The config {base.filename} has no head with num_classes.')
    return heads


def _class_weights(base: Config) -> bool:
    loss = base.model.decode_head.get('loss_decode')
    return isinstance(loss, Mapping) and bool(loss.get('class_weight'))


def _data(plan: Plan) -> dict[str, Any]:
    splits = {
        name: dict(
            ann_file=str(split.ann_file),
            images=str(split.images),
            folder=f'{split.images.as_posix().rstrip("/")}/',
        )
        for name, split in plan.data.splits.items()
    }
    return dict(splits=splits, masks=plan.task == 'instance', balance=plan.balance)


def _schedule(plan: Plan) -> dict[str, Any]:
    steps = plan.steps_an_epoch * plan.max_epochs
    interval = max(1, plan.max_epochs // VALIDATIONS)
    return dict(
        steps_an_epoch=plan.steps_an_epoch,
        warm_up=max(1, min(500, steps // 10)),
        # The loop of segmentation counts steps, that of detection epochs.
        val_interval=interval * (plan.steps_an_epoch if plan.task == 'semantic' else 1),
        monitor=MONITORS[plan.task],
        layer_decay=plan.layer_decay,
        ema_momentum=float(f'{min(0.1, 10 / steps):.2g}') if plan.ema else None,
        patience=plan.patience,
    )


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
