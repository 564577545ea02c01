"""Counts parameters and multiply-accumulates (MACs) of a model and its backbone."""

from argparse import Namespace

from casvit.errors import CliError
from casvit_mm.benchmark.flops import count, input_channels, input_shape
from casvit_mm.commands.config import sized_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels


def run(args: Namespace) -> int:
    """Counts parameters and MACs, and prints a table.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The config has no model, or its model does not take images.
    """
    cfg = sized_config(args)
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    load_toolbox(cfg)
    require_matching_channels(cfg)
    height, width = args.shape or input_shape(cfg)
    rows, proposals = count(cfg, height, width)
    print(f'\n{cfg.filename}, input {input_channels(cfg)} x {height} x {width}\n')
    print(f'{"":<10}{"parameters":>14}{"GMACs":>10}')
    for name, parameters, macs in rows:
        print(f'{name:<10}{parameters:>14,}{macs / 1e9:>10.2f}')
    if proposals is not None:
        print(f'\nHeads counted on {proposals} proposals.')
    return 0
