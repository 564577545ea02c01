"""Prints a config as a run would see it, or writes it."""

from argparse import Namespace
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import dump

from casvit.errors import CliError
from casvit.files import write_whole
from casvit_mm.commands.config import sized_config
from casvit_mm.config.text import escape_braces


def run(args: Namespace) -> int:
    """Prints or writes the config.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The config cannot be read, or --out has an unsupported suffix.
    """
    cfg = sized_config(args)
    if args.out:
        out = Path(args.out).expanduser()
        _write(cfg, out)
        print(out)
    else:
        print(escape_braces(cfg.pretty_text))
    return 0


def _write(cfg: Config, out: Path) -> None:
    if out.suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise CliError(f'--out {out}: expected a .py, .json or .yaml file.')
    text = escape_braces(cfg.pretty_text)
    if out.suffix != '.py':
        text = dump(cfg.to_dict(), file_format=out.suffix.removeprefix('.'))
    write_whole(out, text)
