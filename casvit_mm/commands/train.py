"""Trains a model from a config."""

from argparse import Namespace

from mmengine.config import Config
from mmengine.device import get_device

from casvit.cli import arguments
from casvit.errors import CheckpointError, CliError
from casvit.terminal.screen import Screen
from casvit_mm.commands.config import command_config
from casvit_mm.commands.endings import end_training
from casvit_mm.commands.runs import (
    build_runner,
    join,
    require_new_run,
    require_runnable,
    require_saved,
    require_work_dir,
    say,
    shown,
)
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.edit import drop_pretrained, start_from_scratch
from casvit_mm.config.values import check_values, ignored_keys, settle_loaders
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.datasets.preflight.check import check_data
from casvit_mm.engine.checkpoints import latest_checkpoint, traces_of_run
from casvit_mm.engine.drawing import set_style
from casvit_mm.engine.launch import is_restarted, world_size
from casvit_mm.models.checkpoint import require_checkpoint
from casvit_mm.models.checkpoint.pretrained import require_pretrained
from casvit_mm.speed.devices import check_precision


def run(args: Namespace) -> int:
    """Trains a model.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The config does not support what the arguments ask for.
        DatasetError: The dataset is missing, or does not match the config.
        CheckpointError: A checkpoint is missing, or does not fit.
    """
    screen = Screen(quiet=args.quiet)
    cfg = command_config(args)
    # Checks look at registries, which import the toolbox: it is loaded with care first.
    load_toolbox(cfg)
    check_values(cfg)
    settle_loaders(cfg)
    if not cfg.get('train_dataloader') or not cfg.get('train_cfg'):
        raise CliError(f'The config {cfg.filename} has no train_dataloader or no train_cfg.')
    require_runnable(cfg)
    for note in ignored_keys(cfg):
        screen.say(note)
    require_matching_channels(cfg)
    if args.from_scratch:
        screen.say(start_from_scratch(cfg))
    set_style(cfg, arguments.drawing(args))
    if is_restarted() and traces_of_run(cfg.work_dir):
        # torchrun starts the same command again: what it has trained is not to be lost.
        args.resume, args.overwrite = 'auto', False
    _set_resume(cfg, args.resume)
    if args.resume and args.overwrite:
        raise CliError('--resume continues a run, and --overwrite replaces it: leave one out.')
    if not cfg.get('resume') and not args.overwrite:
        require_new_run(cfg.work_dir, 'Continue that run with --resume')
    _check_strategy(cfg, args.launcher)
    _check_pretrained(cfg)
    if args.amp:
        _use_amp(cfg)
    _scale_learning_rate(cfg, args.auto_scale_lr, args.launcher)
    join(cfg, args)
    splits = ('train', 'val') if cfg.get('val_dataloader') else ('train',)
    for fact in check_data(cfg, splits, crashes_only=args.no_data_check):
        screen.fact(*fact.split(': ', 1))
    require_work_dir(cfg)
    with shown(screen, debug=args.debug):
        runner = build_runner(cfg)
        runner.train()
    require_saved(runner)
    end_training(runner, cfg, screen)
    return 0


def _set_resume(cfg: Config, resume: str | None) -> None:
    if resume == 'auto':
        cfg.resume, cfg.load_from = True, None
    elif resume is not None:
        cfg.resume, cfg.load_from = True, resume
    if cfg.get('load_from'):
        require_checkpoint(cfg.load_from)


def _check_strategy(cfg: Config, launcher: str) -> None:
    """Stops if a strategy of FlexibleRunner needs several processes, or a GPU, and has none."""
    strategy = cfg.get('strategy')
    kind = type_name(strategy) if isinstance(strategy, dict) else ''
    if cfg.get('runner_type') != 'FlexibleRunner' or kind in ('', 'SingleDeviceStrategy'):
        return
    if get_device() == 'cpu':
        raise CliError(
            f'strategy={kind!r} of FlexibleRunner needs GPUs, but torch finds none here: leave '
            "strategy out, or use runner_type='CASViTRunner', which also trains on several CPUs."
        )
    if launcher == 'none':
        raise CliError(
            f'strategy={kind!r} is for several processes: start them with tools/dist_train.sh, or '
            'with --launcher; or leave strategy out of the config.'
        )


def _check_pretrained(cfg: Config) -> None:
    """Stops if the pretrained weights of the model or its backbone are missing."""
    try:
        for _, file, option in ConfigView(cfg).pretrained_files():
            require_pretrained(file, option)
    except CheckpointError:
        if not cfg.get('resume') or not _resumes_from(cfg):
            raise
        # The checkpoint of the run holds the whole model, so pretrained weights are not needed.
        drop_pretrained(cfg.model)


def _resumes_from(cfg: Config) -> str | None:
    """The checkpoint that a resumed run continues from; None if there is none yet."""
    return cfg.get('load_from') or latest_checkpoint(cfg.work_dir)


def _use_amp(cfg: Config) -> None:
    device = get_device()
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    mixed = 'BFloat16OptimWrapper' if device == 'cpu' else 'AmpOptimWrapper'
    if device == 'mps':
        raise CliError(f'--amp is not known to work on {device}: leave it out.')
    if kind not in ('OptimWrapper', mixed):
        raise CliError(f'--amp works with optim_wrapper.type OptimWrapper, not {kind}.')
    wrapper.type = mixed
    if mixed == 'AmpOptimWrapper':
        wrapper.setdefault('loss_scale', 'dynamic')
    elif note := check_precision('bf16', device):
        say(f'{note} Training is faster without --amp.')


def _scale_learning_rate(cfg: Config, wanted: bool, launcher: str) -> None:
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    if wanted:
        if not base:
            raise CliError(
                f'--auto-scale-lr needs auto_scale_lr.base_batch_size, which {cfg.filename} lacks.'
            )
        cfg.auto_scale_lr.enable = True
        return
    batch = cfg.train_dataloader.get('batch_size')
    if not base or not batch or scaling.get('enable') or batch * world_size(launcher) == base:
        return
    say(
        f'Note: the learning rate is for {base} images per step, but this run has '
        f'{batch * world_size(launcher)}: use --auto-scale-lr to scale it.'
    )
