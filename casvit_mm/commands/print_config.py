"""Prints a config as a run would see it: bases merged, options applied.

  casvit print_config mask_rcnn_casvit
  casvit print_config mask_rcnn_casvit --cfg-options model.backbone.drop_path_rate=0.2
  casvit print_config mask_rcnn_casvit --save-path my_config.py
      one file that needs no bases

Every key that it prints is one that --cfg-options can change.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from casvit.errors import CliError
from casvit_mm.commands import arguments
from casvit_mm.commands.config import load_config, reroot
from casvit_mm.engine.config_text import escape_braces


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    parser.add_argument('--save-path', metavar='FILE', help='write it here too: .py, .json, .yaml')


def run(args: Namespace) -> int:
    """Prints the config.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The config cannot be read, or the file is of no config's kind.
    """
    cfg = load_config(args.config, args.cfg_options)
    if args.data_root is not None:
        reroot(cfg, args.data_root)
    text = escape_braces(cfg.pretty_text)
    print(text)
    if args.save_path:
        if Path(args.save_path).suffix not in ('.py', '.json', '.yaml', '.yml'):
            raise CliError(f'--save-path {args.save_path}: expected a .py, .json or .yaml file.')
        Path(args.save_path).parent.mkdir(parents=True, exist_ok=True)
        if args.save_path.endswith('.py'):
            Path(args.save_path).write_text(text, encoding='utf-8')
        else:
            cfg.dump(args.save_path)
    return 0
