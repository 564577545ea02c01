"""Evaluates a checkpoint, or writes what it predicts.

  casvit test CONFIG CHECKPOINT
      the evaluation table (COCO's, for the detection configs)
  casvit test CONFIG CHECKPOINT --show-dir pictures
      also draws ground truth and predictions side by side
  casvit test CONFIG CHECKPOINT --tta
      several scales and flips of every picture, merged
  casvit test CONFIG CHECKPOINT --format-only out/test-dev \\
      --cfg-options test_dataloader.dataset.ann_file=annotations/image_info_test-dev2017.json
      out/test-dev.bbox.json and .segm.json, as COCO's test server takes them; no annotations needed

CHECKPOINT may be a file of a training run, a published one, or .safetensors: all its weights must
fit the model.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmengine.config import Config, ConfigDict

from casvit_mm.cli import arguments
from casvit_mm.cli.config import command_config
from casvit_mm.cli.errors import CliError
from casvit_mm.cli.runs import (
    as_list,
    build_runner,
    is_detection,
    join,
    leaving_group,
    log_file,
    say,
)
from casvit_mm.datasets.check import check_detection_data, leaf_datasets
from casvit_mm.models.checkpoint import require_checkpoint


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    arguments.add_work_dir(parser)
    parser.add_argument('--out', metavar='FILE.pkl', help='write raw predictions and truth here')
    parser.add_argument('--show-dir', metavar='DIR', help='draw predictions into this folder')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--format-only',
        metavar='PREFIX',
        help="write PREFIX.bbox.json (and .segm.json) in COCO's format, evaluate nothing",
    )
    arguments.add_seed(parser)
    arguments.add_launcher(parser)


def run(args: Namespace) -> int:
    """Tests.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The run cannot be what was asked for.
        DatasetError: The data are not there, or not what the config says.
        CheckpointError: The weights are not there, or do not fit.
    """
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise CliError(f'--out {args.out}: the file is a pickle, and is to end in .pkl.')
    cfg = command_config(args)
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise CliError(f'The config {cfg.filename} has no test_dataloader or no test_evaluator.')
    require_checkpoint(args.checkpoint)
    cfg.load_from, cfg.resume = args.checkpoint, False
    backbone = (cfg.get('model') or {}).get('backbone')
    if backbone is not None:
        backbone['init_cfg'] = None
    if args.show_dir:
        _draw(cfg, args.show_dir)
    if args.format_only:
        _write_predictions(cfg, args.format_only)
    if args.out:
        _dump(cfg, args.out)
    arguments.export_local_rank(args)
    join(cfg, args.launcher)
    with leaving_group():
        if is_detection(cfg) and not args.format_only:
            for fact in check_detection_data(cfg, splits=('test',)):
                say(fact)
        if args.tta:
            _augment(cfg)
        runner = build_runner(cfg)
        runner.test()
        for what, where in (('raw predictions', args.out), ('pictures', args.show_dir)):
            if where:
                say(f'{what}: {where}')
        if args.format_only:
            folder = Path(args.format_only).parent
            for path in sorted(folder.glob(f'{Path(args.format_only).name}.*.json')):
                say(f'predictions: {path}')
        say(f'log: {log_file(runner)}')
    return 0


def _draw(cfg: Config, folder: str) -> None:
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('visualization', ConfigDict(type='DetVisualizationHook'))
    hook.draw = True
    # An absolute folder: the hook puts a relative one under the work dir.
    hook.test_out_dir = str(Path(folder).resolve())
    if not cfg.get('visualizer'):
        cfg.visualizer = ConfigDict(
            type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
        )


def _write_predictions(cfg: Config, prefix: str) -> None:
    """Lets COCO's metrics write files; categories and pictures come from the tested data set."""
    dataset = next(leaf_datasets(cfg.test_dataloader.dataset))
    metrics = [m for m in as_list(cfg.test_evaluator) if m.get('type') == 'CocoMetric']
    if not metrics:
        raise CliError(f'--format-only needs a CocoMetric as test_evaluator; see {cfg.filename}.')
    ann_file = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if not ann_file.is_file():
        raise CliError(
            f'The list of pictures {ann_file} does not exist. --format-only needs images and '
            'categories (for COCO: image_info_test-dev2017.json), but no annotations: name it '
            'with --cfg-options test_dataloader.dataset.ann_file=FILE, its root with --data-root.'
        )
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    for metric in metrics:
        metric.update(format_only=True, outfile_prefix=prefix, ann_file=str(ann_file))


def _dump(cfg: Config, file: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    kind = 'DumpDetResults' if is_detection(cfg) else 'DumpResults'
    dump = ConfigDict(type=kind, out_file_path=file)
    cfg.test_evaluator = [*as_list(cfg.test_evaluator), dump]


def _augment(cfg: Config) -> None:
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise CliError(
            f'--tta needs {" and ".join(missing)} in the config {cfg.filename}; '
            'configs/_base_/datasets/ shows how.'
        )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for dataset in leaf_datasets(cfg.test_dataloader.dataset):
        dataset.pipeline = cfg.tta_pipeline
