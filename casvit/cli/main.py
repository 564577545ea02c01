"""The ``casvit`` program: finds a command and runs it."""

import argparse
import contextlib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from casvit import __version__
from casvit.cli import loading
from casvit.cli.errors import present
from casvit.weights.trust import WARNING, trusting

COMMANDS: dict[str, tuple[str, str]] = {
    'train': ('train', 'train a config'),
    'test': ('test', 'evaluate a checkpoint, or write its predictions'),
    'image_demo': ('image_demo', 'run inference on images or a video'),
    'finetune': ('finetune', 'train on your own dataset'),
    'weights': ('weights', 'list and download published weights'),
    'check': ('check_dataset', 'check a dataset and report its issues'),
    'shard': ('shard', 'write a dataset as tar shards, to read from other machines'),
    'browse_dataset': ('browse_dataset', 'draw the images that training gets'),
    'get_flops': ('get_flops', 'count parameters and multiply-accumulates'),
    'fuse': ('fuse', 'make inference faster, with the same results'),
    'export': ('export', 'write a file that runs without PyTorch'),
    'bench': ('bench', 'measure the speed of CAS-ViT on this machine'),
    'compare': ('compare', 'compare token mixers and other backbones'),
    'replay': ('replay', 'compute again a training step whose loss was not finite'),
    'publish_model': ('publish_model', 'write a clean checkpoint to share'),
    'print_config': ('print_config', 'print a config with its bases resolved'),
    'check_config': ('check_config', 'list what a config does, without running it'),
    'generate_shapes': ('generate_shapes', 'generate the demo dataset'),
}

EXAMPLES = """\
a first run, which needs no data and no weights:
  casvit train mask_rcnn_casvit-xs_demo_shapes

then look at the predictions of the trained model:
  casvit test mask_rcnn_casvit-xs_demo_shapes CHECKPOINT --show-dir images
  casvit image_demo PHOTO.jpg mask_rcnn_casvit-xs_demo_shapes CHECKPOINT --out-dir out

then train on your own images:
  casvit check DATA
  casvit finetune DATA --task detection

CONFIG is a path, or the name of a config that comes with the package.
`casvit COMMAND --help` explains a command; `python tools/COMMAND.py` is the same in a checkout
(for check: tools/check_dataset.py).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The ``casvit`` program.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit code: 0 if all went well, 2 for an error that the message explains, 130 after
        an interrupt, 1 for a bug, if image_demo skipped images of a folder, or if replay finds
        nothing wrong.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog='casvit',
        description='Train, test and run detectors, segmentors and classifiers with CAS-ViT.',
        epilog=_command_list() + '\n' + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='casvit COMMAND [arguments]',
    )
    parser.add_argument('--version', action='version', version=f'casvit {__version__}')
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help='see below')
    if not argv:
        parser.print_help()
        return 0
    try:
        # Options are written with hyphens, so people write commands like that too.
        name = argv[0] if argv[0].startswith('-') else argv[0].replace('-', '_')
        command = parser.parse_args([name]).command
    except SystemExit as stop:
        return _exit_code(stop)
    return _run(command, argv[1:], prog=f'casvit {command}')


def run_tool(name: str, argv: Sequence[str] | None = None) -> int:
    """Runs one command, as ``tools/<name>.py`` does.

    Args:
        name: A key of :data:`COMMANDS`.
        argv: The command's arguments; those of the process if None.

    Returns:
        The exit code, as :func:`main` gives it.
    """
    return _run(name, list(sys.argv[1:] if argv is None else argv), prog=f'casvit {name}')


def _run(name: str, argv: list[str], prog: str) -> int:
    debug = '--debug' in argv
    for stream in (sys.stdout, sys.stderr):
        # File names need not be UTF-8, and a terminal may not support every character.
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    try:
        module, _ = COMMANDS[name]
        command = importlib.import_module(f'casvit.cli.{module}')
        # An optional argument like CHECKPOINT may also come after options.
        args = _parser(command, prog).parse_intermixed_args(argv)
        loading.quiet = getattr(args, 'quiet', False)
        if not hasattr(command, 'run'):
            with loading.loading(prog):
                command = importlib.import_module(f'casvit_mm.commands.{module}')
        trust = getattr(args, 'trust', False)
        if trust:
            print(f'Warning: {WARNING}', file=sys.stderr)
        with (
            contextlib.nullcontext() if debug else loading.only_useful_warnings(),
            trusting(trust),
        ):
            return command.run(args)
    except SystemExit as stop:
        return _exit_code(stop)
    except BaseException as error:
        return present(error, prog, debug=debug)
    finally:
        _leave_run()


def _parser(module: ModuleType, prog: str) -> argparse.ArgumentParser:
    """A parser whose --help is the command module's docstring."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument(
        '--debug',
        action='store_true',
        help='show the complete log of a run, and the traceback of every error',
    )
    return parser


def _command_list() -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}}  {what}' for name, (_, what) in COMMANDS.items()]
    return '\n'.join(['commands:', *lines, ''])


def _leave_run() -> None:
    # Only once the error has been shown: its frames hold the model of the run.
    if launch := sys.modules.get('casvit_mm.engine.launch'):
        launch.leave_run()


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(stop.code, file=sys.stderr)
    return 1
