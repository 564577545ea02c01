"""Writes the config of a fine-tuning: a short file for people to read and edit.

The files in ``templates`` are the config, with ``<< value >>`` for what depends on the dataset and
on the options. This module computes the values.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from casvit.errors import CliError
from casvit.tables import IGNORE_INDEX
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.finetune.changes import Code, Identifier, merged, model_changes
from casvit_mm.finetune.plan import Plan

MONITORS = dict(
    detection='coco/bbox_mAP',
    instance='coco/segm_mAP',
    semantic='mIoU',
    classification='accuracy/top1',
)
TEMPLATES = dict(
    detection='objects.py.jinja',
    instance='objects.py.jinja',
    semantic='semantic.py.jinja',
    classification='classification.py.jinja',
)
# Hooks that belong to the images or the length of a recipe.
OF_RECIPES = (
    'EMAHook',
    'EarlyStoppingHook',
    'MeanTeacherHook',
    'PipelineSwitchHook',
    'ProgressiveSizeHook',
    'YOLOXModeSwitchHook',
)


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
    values = {**_start(plan), **_model(plan), **_data(plan), **_schedule(plan), **_hooks(plan)}
    return escape_braces(template.render(values))


def literal(value: Any) -> Any:
    """Writes a value as a Python literal, so that data cannot become code.

    Jinja calls it for every ``<< value >>``.

    Args:
        value: The value.

    Returns:
        Its literal. Identifiers and expressions of this package are returned as they are, and so
        are undefined values, which jinja refuses by name.

    Raises:
        ValueError, SyntaxError: The value has no literal.
    """
    if isinstance(value, (Identifier, Code, StrictUndefined)):
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
    name, task = Path(str(plan.base.filename)).stem, ConfigView(plan.base).task
    if task != plan.task:
        raise CliError(f'The config {name} is for {task}, not for --task {plan.task}.')


def _start(plan: Plan) -> dict[str, Any]:
    return dict(
        source=str(plan.source),
        base=_absolute(plan.base.filename),
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
    ignored = plan.data.ignore_index if plan.data.ignore_index != IGNORE_INDEX else None
    changes = merged(plan.resized, model_changes(plan.base, plan.task, ignored))
    return dict(
        backbone=changes.pop('backbone', {}),
        changes=changes,
        ignore_index=plan.data.ignore_index,
        ignoring=ignored is not None,
        backbone_file=_absolute(plan.backbone_file),
        from_scratch=plan.from_scratch,
        freeze=plan.freeze,
        crop=False,
        size_divisor=bool((plan.base.model.get('data_preprocessor') or {}).get('size_divisor')),
    )


def _data(plan: Plan) -> dict[str, Any]:
    splits = {
        name: dict(
            ann_file=str(split.ann_file),
            images=str(split.images),
            folder=f'{split.images.as_posix().rstrip("/")}/',
        )
        for name, split in plan.data.splits.items()
    }
    return dict(
        splits=splits,
        masks=plan.task == 'instance',
        balance=plan.balance,
        augment=plan.augment,
        mosaic=plan.mosaic,
        copy_paste=plan.copy_paste,
        last_epochs=plan.last_epochs,
        # The canvas of a mosaic has room for many objects, each with a mask of its size.
        keep_polygons=plan.mosaic and plan.data.polygons,
        loader=list(plan.base.train_dataloader),
        tta=plan.base.get('tta_model') is not None,
        topk=(1, 5) if len(plan.data.classes) > 5 else (1,),
    )


def _schedule(plan: Plan) -> dict[str, Any]:
    steps = plan.steps_an_epoch * plan.max_epochs
    by_epoch = plan.task != 'semantic'
    return dict(
        steps_an_epoch=plan.steps_an_epoch,
        warm_up=max(1, min(500, steps // 10)),
        by_epoch=by_epoch,
        # Segmentation trains by steps, everything else by epochs.
        val_interval=plan.val_interval * (1 if by_epoch else plan.steps_an_epoch),
        monitor=MONITORS[plan.task],
        layer_decay=plan.layer_decay,
        slow_backbone=plan.task == 'classification' and not plan.from_scratch,
        accumulates='accumulative_counts' in plan.base.optim_wrapper,
        ema_momentum=float(f'{min(0.1, 10 / steps):.2g}') if plan.ema else None,
        patience=plan.patience,
    )


def _hooks(plan: Plan) -> dict[str, Any]:
    hooks = plan.base.get('custom_hooks') or []
    by_epoch = (plan.base.get('log_processor') or {}).get('by_epoch', True)
    kinds = {type_name(hook) for hook in hooks if isinstance(hook, Mapping)}
    return dict(
        base_hooks=bool(hooks),
        dropped_hooks=tuple(name for name in OF_RECIPES if name in kinds),
        log_processor=by_epoch != (plan.task != 'semantic'),
        # Written for another runner, without what this package adds to a run.
        foreign=plan.base.get('runner_type') != 'CASViTRunner',
    )


def _absolute(path: Path | str | None) -> str | None:
    if path is None or '://' in str(path):
        return None if path is None else str(path)
    return str(Path(path).absolute())
