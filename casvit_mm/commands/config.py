"""The config of a command."""

from argparse import Namespace
from pathlib import Path

from mmengine.config import Config

from casvit_mm.config.edit import reroot
from casvit_mm.config.read import load_config, parse_options


def command_config(args: Namespace) -> Config:
    """Reads CONFIG and applies --cfg-options, --data-root and, if present, --work-dir, --seed."""
    cfg = load_config(args.config, parse_options(args.cfg_options))
    if args.data_root is not None:
        reroot(cfg, args.data_root)
    if getattr(args, 'work_dir', None) is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    if getattr(args, 'seed', None) is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': args.seed}
    return cfg
