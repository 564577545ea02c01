"""The config of a command."""

from argparse import Namespace
from pathlib import Path

from mmengine.config import Config

from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.edit import reroot
from casvit_mm.config.read import load_config, parse_options


def sized_config(args: Namespace) -> Config:
    """Reads CONFIG and applies the options that all commands share.

    Those are --cfg-options and --data-root, and --size if a command has it.
    """
    cfg = load_config(args.config, parse_options(args.cfg_options))
    if size := getattr(args, 'size', None):
        # Torch is loaded only now: other configs are printed without it.
        from casvit_mm.config.size import set_size

        # The classes of a toolbox tell what takes the features of the backbone.
        load_toolbox(cfg)
        set_size(cfg, size)
    if args.data_root is not None:
        reroot(cfg, args.data_root)
    return cfg


def command_config(args: Namespace) -> Config:
    """:func:`sized_config`, with the work dir and the seed of a run."""
    cfg = sized_config(args)
    name = Path(cfg.filename).stem
    if size := getattr(args, 'size', None):
        from casvit_mm.config.size import name_with_size

        name = name_with_size(name, size)
    if getattr(args, 'work_dir', None) is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / name)
    if getattr(args, 'seed', None) is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': args.seed}
    return cfg
