"""Writes the config of a fine-tuning: a small file that a person reads, and edits."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from mmengine.config import Config

from casvit.errors import CliError
from casvit.names import printable
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import ConfigView
from casvit_mm.finetune.plan import Plan

VALIDATIONS = 20
MONITORS = dict(detection='coco/bbox_mAP', instance='coco/segm_mAP', semantic='mIoU')
WORKERS = 'num_workers=workers,\n    persistent_workers=workers > 0,'


def config_text(plan: Plan) -> str:
    """The config.

    Args:
        plan: What it is to be.

    Returns:
        Its text: variables that a person may want to change first.

    Raises:
        CliError: The base config is of another task.
    """
    _check_task(plan)
    parts = _semantic(plan) if plan.task == 'semantic' else _objects(plan)
    return escape_braces('\n'.join([_head(plan), _model(plan), *parts, _run(plan)]))


def _check_task(plan: Plan) -> None:
    name, task = Path(plan.base.filename).stem, ConfigView(plan.base).task
    if task != plan.task:
        raise CliError(f'The config {name} is for {task}, which --task {plan.task} is not.')


def _head(plan: Plan) -> str:
    classes, palette = plan.data.classes, plan.data.palette
    names = ''.join(f'    {name!r},\n' for name in classes)
    colours = ''.join(f'    {tuple(colour)},\n' for colour in palette)
    return f"""\
# Fine-tuning on {printable(str(plan.source))}, written by `casvit finetune`.
# It is yours to edit: `casvit train` and `casvit test` take it, and `--resume` continues the run.
_base_ = {str(plan.base.filename)!r}

image_size = {plan.image_size}
batch_size = {plan.batch_size}
workers = {plan.workers}
learning_rate = {plan.learning_rate}
max_epochs = {plan.max_epochs}
work_dir = {str(plan.work_dir.absolute())!r}
load_from = {None if plan.load_from is None else str(plan.load_from.absolute())!r}
randomness = dict(seed={plan.seed})

classes = (
{names})
palette = [
{colours}]
metainfo = dict(classes=classes, palette=palette)
"""


def _model(plan: Plan) -> str:
    counts = [name.split('.')[1:] for name, _ in ConfigView(plan.base).class_counts()]
    if not counts:
        raise CliError(f'The config {plan.base.filename} has no head with num_classes.')
    heads: dict[str, Any] = {}
    for names in counts:
        if any(name.isdigit() for name in names):
            raise CliError(
                f'The config {plan.base.filename} has several heads in a list, which a config that '
                'inherits it cannot change one by one: choose another with --config.'
            )
        node = heads
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node['num_classes'] = 'len(classes)'
    backbone: dict[str, Any] = {}
    if plan.backbone_file is not None:
        file = str(plan.backbone_file.absolute())
        backbone['init_cfg'] = f'dict(type={"Pretrained"!r}, checkpoint={file!r})'
    else:
        # The whole model comes from load_from, or from random weights.
        backbone['init_cfg'] = 'None'
    if plan.from_scratch:
        backbone['norm_eval'] = 'False'
    if plan.freeze:
        backbone['frozen_stages'] = str(plan.freeze)
    if plan.task == 'semantic' and _class_weights(plan.base):
        # Weights of the classes of other data.
        heads['decode_head']['loss_decode'] = 'dict(class_weight=None)'
    if plan.task == 'semantic' and plan.data.ignore_index != 255:
        heads['decode_head']['ignore_index'] = str(plan.data.ignore_index)
    heads['backbone'] = backbone
    if plan.task == 'semantic':
        seg_pad = plan.data.ignore_index
        heads['data_preprocessor'] = dict(size='crop_size', seg_pad_val=str(seg_pad))
    before = 'crop_size = (image_size, image_size)\n' if plan.task == 'semantic' else ''
    return f'{before}model = {_nested(heads)}\n'


def _class_weights(base: Config) -> bool:
    loss = base.model.decode_head.get('loss_decode')
    return isinstance(loss, Mapping) and bool(loss.get('class_weight'))


def _objects(plan: Plan) -> list[str]:
    instance = plan.task == 'instance'
    loaded = 'with_bbox=True, with_mask=True' if instance else 'with_bbox=True'
    load = f"dict(type='LoadAnnotations', {loaded})"
    metric = ['bbox', 'segm'] if instance else 'bbox'
    parts, scale = plan.data.splits, '(image_size, image_size)'
    train = f"""\
dict(
    type='CocoDataset',
    metainfo=metainfo,
    ann_file={str(parts['train'].ann_file)!r},
    data_root='',
    data_prefix=dict(img={_folder(parts['train'].images)!r}),
    # Pictures without objects stay in: they teach what is none.
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=train_pipeline,
)"""
    if plan.balance:
        train = (
            'dict(\n'
            "    type='ClassBalancedDataset',\n"
            '    # Pictures of classes that are in fewer than this share of them are repeated.\n'
            '    oversample_thr=0.3,\n'
            f'    dataset={indent(train, "    ").lstrip()},\n)'
        )
    return [
        f"""\
train_pipeline = [
    dict(type='LoadImageFromFile'),
    {load},
    dict(type='Resize', scale={scale}, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale={scale}, keep_ratio=True),
    {load},
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=batch_size,
    {WORKERS}
    dataset={_replacing(indent(train, '    ').lstrip())},
)
""",
        _object_loader('val', parts['val'], metric),
        _object_loader('test', parts['test'], metric)
        if 'test' in parts
        else 'test_dataloader = val_dataloader\ntest_evaluator = val_evaluator\n',
    ]


def _object_loader(name: str, part: Any, metric: Any) -> str:
    return f"""\
{name}_dataloader = dict(
    {WORKERS}
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        metainfo=metainfo,
        ann_file={str(part.ann_file)!r},
        data_root='',
        data_prefix=dict(img={_folder(part.images)!r}),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
{name}_evaluator = dict(
    ann_file={str(part.ann_file)!r},
    metric={metric!r},
    classwise=True,
)
"""


def _semantic(plan: Plan) -> list[str]:
    parts, ignored = plan.data.splits, plan.data.ignore_index

    def loader(name: str, part: Any, steps: str, batch: str) -> str:
        test = '' if name == 'train' else '        test_mode=True,\n'
        return f"""\
{name}_dataloader = dict(
    {batch}
    dataset=dict(
        _delete_=True,
        type='PairsDataset',
        metainfo=metainfo,
        ann_file={str(part.ann_file)!r},
        data_root='',
        data_prefix=dict(img_path={str(part.images)!r}, seg_map_path={str(part.images)!r}),
{test}        pipeline={steps},
    ),
)
"""

    return [
        """\
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(4 * image_size, image_size),
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(4 * image_size, image_size), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
""",
        loader('train', parts['train'], 'train_pipeline', f'batch_size=batch_size,\n    {WORKERS}'),
        loader('val', parts['val'], 'test_pipeline', WORKERS),
        loader('test', parts['test'], 'test_pipeline', WORKERS)
        if 'test' in parts
        else 'test_dataloader = val_dataloader\n',
        f'val_evaluator = dict(ignore_index={ignored})\ntest_evaluator = val_evaluator\n',
    ]


def _run(plan: Plan) -> str:
    steps = plan.steps_an_epoch * plan.max_epochs
    warm_up = max(1, min(500, steps // 10))
    every = max(1, plan.max_epochs // VALIDATIONS)
    semantic = plan.task == 'semantic'
    monitor = MONITORS[plan.task]
    hooks = []
    if plan.ema:
        # The average of about the last tenth of the run.
        momentum = float(f'{min(0.1, 10 / steps):.2g}')
        hooks.append(f"dict(type='EMAHook', momentum={momentum}, priority=49)")
    if plan.patience:
        hooks.append(
            f"dict(type='EarlyStoppingHook', monitor={monitor!r}, patience={plan.patience})"
        )
    rates = 'optimizer=dict(lr=learning_rate)'
    if plan.layer_decay is not None:
        rates = (
            "constructor='CASViTLayerDecayConstructor',\n    "
            f'{rates},\n    paramwise_cfg=dict(layer_decay_rate={plan.layer_decay})'
        )
    known = plan.base.get('custom_hooks') or []
    if semantic and plan.data.ignore_index != 255:
        inherited = [
            {**hook, 'ignore_index': plan.data.ignore_index}
            if hook['type'] == 'LabelRangeHook'
            else dict(hook)
            for hook in known
        ]
        listed = ''.join(f'    {_call(hook)},\n' for hook in inherited)
    else:
        listed = '    *_base_.custom_hooks,\n'
    listed += ''.join(f'    {hook},\n' for hook in hooks)
    if semantic:
        interval = plan.steps_an_epoch * every
        loop = f"""\
max_iters = {plan.steps_an_epoch} * max_epochs
train_cfg = dict(max_iters=max_iters, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin={warm_up}, end=max_iters),
]
default_hooks = dict(
    checkpoint=dict(interval={interval}, max_keep_ckpts=2, save_best={monitor!r}),
    logger=dict(interval=10),
)
"""
    else:
        loop = f"""\
train_cfg = dict(max_epochs=max_epochs, val_interval={every})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    checkpoint=dict(interval={every}, max_keep_ckpts=2, save_best={monitor!r}),
    logger=dict(interval=10),
)
"""
    return dedent(
        f"""\
{loop}optim_wrapper = dict(
    {rates},
)
auto_scale_lr = dict(base_batch_size=batch_size)
custom_hooks = [
{listed}]
# Faster, with the same results. precision='auto' adds bf16 where the device is made for it.
speed = dict(channels_last=True, fold_norms=True, fused_optimizer=True, keep_memory=True)
"""
    )


def _folder(path: Path) -> str:
    return f'{path.as_posix().rstrip("/")}/'


def _replacing(text: str) -> str:
    """A dict that replaces the inherited one instead of being merged into it."""
    return text.replace('dict(\n', 'dict(\n        _delete_=True,\n', 1)


def _nested(value: Mapping[str, Any], depth: int = 0) -> str:
    """Nested dicts of expressions, as a config writes them."""
    inner = '    ' * (depth + 1)
    lines = []
    for key, item in value.items():
        text = _nested(item, depth + 1) if isinstance(item, Mapping) else item
        lines.append(f'{inner}{key}={text},\n')
    return f'dict(\n{"".join(lines)}{"    " * depth})'


def _call(hook: Mapping[str, Any]) -> str:
    return f'dict({", ".join(f"{key}={value!r}" for key, value in hook.items())})'
