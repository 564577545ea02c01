"""The config of a command."""

from argparse import Namespace
from pathlib import Path

from mmengine.config import Config

from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.edit import reroot
from casvit_mm.config.read import load_config, parse_options
from casvit_mm.config.size import name_with_size, set_size


def command_config(args: Namespace) -> Config:
    """Reads CONFIG and applies the options that commands share.

    Those are --cfg-options and --data-root, and if a command has them --size, --work-dir, --seed.
    """
    cfg = load_config(args.config, parse_options(args.cfg_options))
    name = Path(cfg.filename).stem
    if size := getattr(args, 'size', None):
        # The classes of a toolbox tell what takes the features of the backbone.
        load_toolbox(cfg)
        set_size(cfg, size)
        name = name_with_size(name, size)
    if args.data_root is not None:
        reroot(cfg, args.data_root)
    if getattr(args, 'work_dir', None) is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / name)
    if getattr(args, 'seed', None) is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': args.seed}
    return cfg
