"""Evaluates a checkpoint, or writes its predictions."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device

from casvit.cli import arguments
from casvit.errors import CliError
from casvit.terminal.screen import Screen
from casvit_mm.commands.config import command_config
from casvit_mm.commands.runs import (
    build_runner,
    join,
    require_runnable,
    require_work_dir,
    say,
    shown,
)
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.edit import drop_pretrained
from casvit_mm.config.values import check_values, settle_loaders
from casvit_mm.config.view import ConfigView, as_list, type_name
from casvit_mm.datasets.preflight.check import check_data
from casvit_mm.datasets.roots import is_remote
from casvit_mm.datasets.roots import join as join_path
from casvit_mm.engine.drawing import set_style
from casvit_mm.engine.run_facts import log_file
from casvit_mm.models.checkpoint import require_checkpoint
from casvit_mm.models.optional import import_toolbox
from casvit_mm.speed.devices import check_precision


def run(args: Namespace) -> int:
    """Tests a checkpoint.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The config does not support what the arguments ask for.
        DatasetError: The dataset is missing, or does not match the config.
        CheckpointError: The checkpoint is missing, or does not fit.
    """
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise CliError(f'--out {args.out}: the file is a pickle, so its name has to end in .pkl.')
    _check_model(args)
    screen = Screen(quiet=args.quiet)
    cfg = command_config(args)
    # Checks look at registries, which import the toolbox: it is loaded with care first.
    load_toolbox(cfg)
    check_values(cfg)
    settle_loaders(cfg)
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise CliError(f'The config {cfg.filename} has no test_dataloader or no test_evaluator.')
    require_runnable(cfg)
    require_matching_channels(cfg)
    cfg.resume = False
    if args.backend is not None:
        _use_exported(cfg, args)
    else:
        require_checkpoint(args.checkpoint)
        cfg.load_from, cfg.load_weights = args.checkpoint, args.weights
        drop_pretrained(cfg.model)
    if args.show_dir:
        _draw(cfg, args.show_dir)
        set_style(cfg, arguments.drawing(args))
    if args.format_only:
        _write_predictions(cfg, args.format_only)
    if args.out:
        _dump(cfg, args.out)
    if args.fuse or args.compile or args.precision != 'fp32':
        _accelerate(cfg, args)
    if note := check_precision(args.precision, get_device()):
        say(note)
    join(cfg, args)
    crashes_only = bool(args.no_data_check or args.format_only)
    for fact in check_data(cfg, ('test',), crashes_only=crashes_only):
        screen.fact(*fact.split(': ', 1))
    if args.tta:
        _augment(cfg)
    require_work_dir(cfg)
    with shown(screen, debug=args.debug, tables=True):
        runner = build_runner(cfg)
        runner.test()
    for what, where in (('raw predictions', args.out), ('images', args.show_dir)):
        if where:
            screen.tell(f'{what}: {where}')
    if args.format_only:
        for path in _written(Path(args.format_only)):
            screen.tell(f'predictions: {path}')
    screen.say(f'log: {log_file(runner)}')
    return 0


def _check_model(args: Namespace) -> None:
    """Checks that there is one model to test, and that the options are for its kind."""
    if args.checkpoint is not None and args.backend is not None:
        raise CliError('Test either a CHECKPOINT or an exported model (--backend FILE), not both.')
    if args.backend is None:
        if args.checkpoint is None:
            raise CliError('Name the CHECKPOINT to test, or an exported model with --backend FILE.')
        return
    if wrong := arguments.of_checkpoints(args):
        raise CliError(
            f'{" and ".join(wrong)}: for checkpoints only. An exported model (--backend) is tested '
            'as it is.'
        )


def _use_exported(cfg: Config, args: Namespace) -> None:
    """Puts an exported model in the place of the model."""
    import_toolbox(ConfigView(cfg).scope)
    cfg.model = ConfigDict(type='ExportedPredictor', file=args.backend, trust=args.trust)
    cfg.load_from, cfg.data_preprocessor = None, None
    # It has no weights that could be averaged.
    cfg.custom_hooks = _hooks_but_averages(cfg)


def _hooks_but_averages(cfg: Config) -> list[Any]:
    """The hooks of a config without those that average weights."""
    hooks = as_list(cfg.get('custom_hooks') or [])
    return [each for each in hooks if not str(each.get('type')).endswith('EMAHook')]


def _draw(cfg: Config, folder: str) -> None:
    hook = ConfigDict(type='DrawTestHook', folder=folder)
    cfg.custom_hooks = [*as_list(cfg.get('custom_hooks') or []), hook]


def _accelerate(cfg: Config, args: Namespace) -> None:
    """Adds the hook that accelerates the model once its weights are loaded."""
    hook = ConfigDict(type='AccelerationHook', **arguments.acceleration(args))
    # A checkpoint already holds the averaged weights, and those of a fused model do not match.
    cfg.custom_hooks = [*_hooks_but_averages(cfg), hook]


def _write_predictions(cfg: Config, where: str) -> None:
    """Makes the metrics of a config write files in the format of their test server."""
    kinds = {type_name(metric) for metric in ConfigView(cfg).evaluators('test')}
    if 'CocoMetric' in kinds:
        _write_coco(cfg, where)
    elif 'IoUMetric' in kinds:
        _write_masks(cfg, where)
    else:
        raise CliError(
            f'--format-only needs a CocoMetric or IoUMetric as test_evaluator; see {cfg.filename}.'
        )


def _write_coco(cfg: Config, prefix: str) -> None:
    """Writes files for COCO's test server; categories and images come from the test dataset."""
    dataset = next(ConfigView(cfg).datasets('test'))
    ann_file = join_path(str(dataset.get('data_root') or ''), str(dataset.get('ann_file') or ''))
    if not is_remote(ann_file) and not Path(ann_file).is_file():
        raise CliError(
            f'The list of images {ann_file} does not exist. --format-only needs a file with images '
            'and categories (for COCO: image_info_test-dev2017.json), but no annotations: set it '
            'with --cfg-options test_dataloader.dataset.ann_file=FILE, its root with --data-root.'
        )
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    for metric in ConfigView(cfg).evaluators('test'):
        if type_name(metric) == 'CocoMetric':
            metric.update(format_only=True, outfile_prefix=prefix, ann_file=ann_file)


def _write_masks(cfg: Config, folder: str) -> None:
    """Writes semantic masks as PNG, with the same pixel values as the dataset's annotations."""
    for dataset in ConfigView(cfg).datasets('test'):
        steps = dataset.get('pipeline') or []
        dataset['pipeline'] = [step for step in steps if type_name(step) != 'LoadAnnotations']
    for metric in ConfigView(cfg).evaluators('test'):
        if type_name(metric) == 'IoUMetric':
            metric.update(format_only=True, output_dir=folder)


def _written(where: Path) -> list[Path]:
    """The output of --format-only: a folder of semantic masks, or COCO files."""
    if where.is_dir():
        return [where]
    return sorted(where.parent.glob(f'{where.name}.*.json'))


def _dump(cfg: Config, file: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    kind = 'DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
    dump = ConfigDict(type=kind, out_file_path=file)
    cfg.test_evaluator = [*ConfigView(cfg).evaluators('test'), dump]


def _augment(cfg: Config) -> None:
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise CliError(
            f'--tta needs {" and ".join(missing)} in the config {cfg.filename}; '
            'configs/_base_/datasets/ shows how.'
        )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for dataset in ConfigView(cfg).datasets('test'):
        dataset['pipeline'] = cfg.tta_pipeline
