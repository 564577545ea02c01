"""Writes the config of a fine-tuning: a short file for people to read and edit.

The files in ``templates`` are the config, with ``<< value >>`` for what depends on the dataset and
on the options. This module computes the values.
"""

import ast
import keyword
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from mmengine.config import Config

from casvit.errors import CliError
from casvit.tables import IGNORE_INDEX
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import ConfigView
from casvit_mm.finetune.plan import Plan

VALIDATIONS = 20
MONITORS = dict(detection='coco/bbox_mAP', instance='coco/segm_mAP', semantic='mIoU')
TEMPLATES = dict(
    detection='objects.py.jinja', instance='objects.py.jinja', semantic='semantic.py.jinja'
)


class Identifier(str):
    """A name that is written without quotes: the only value that does not become a literal.

    Args:
        name: The name.

    Raises:
        ValueError: It is not a Python identifier.
    """

    def __new__(cls, name: str) -> 'Identifier':
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f'{name!r} is not a Python identifier.')
        return super().__new__(cls, name)


def config_text(plan: Plan) -> str:
    """Writes the config.

    Args:
        plan: What to train, and how.

    Returns:
        The text of the config, which starts with the variables that are changed most often.

    Raises:
        CliError: The base config is for another task, or its heads cannot be changed.
    """
    _check_task(plan)
    template = _environment().get_template(TEMPLATES[plan.task])
    values = {**_start(plan), **_model(plan), **_data(plan), **_schedule(plan)}
    return escape_braces(template.render(values))


def literal(value: Any) -> Any:
    """Writes a value as a Python literal, so that data cannot become code.

    Jinja calls it for every ``<< value >>``.

    Args:
        value: The value.

    Returns:
        Its literal. Identifiers are returned as they are, and so are undefined values, which jinja
        refuses by name.

    Raises:
        ValueError, SyntaxError: The value has no literal.
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
    return dict(
        heads=heads,
        weighted_heads=[name for name in heads if _class_weights(plan.base.model[name])],
        # A segmentor's heads are all at the top.
        ignoring_heads=list(heads) if plan.data.ignore_index != IGNORE_INDEX else [],
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


def _class_weights(head: Any) -> bool:
    loss = head.get('loss_decode') if isinstance(head, Mapping) else None
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
        # Segmentation trains by steps, detection by epochs.
        val_interval=interval * (plan.steps_an_epoch if plan.task == 'semantic' else 1),
        monitor=MONITORS[plan.task],
        layer_decay=plan.layer_decay,
        ema_momentum=float(f'{min(0.1, 10 / steps):.2g}') if plan.ema else None,
        patience=plan.patience,
        base_hooks=bool(plan.base.get('custom_hooks')),
    )


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
