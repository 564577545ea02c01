"""Arguments that several commands share, with the same names everywhere."""

import argparse
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from casvit.exported.formats import FORMATS as EXPORT_FORMATS
from casvit.tables import FORMATS, IGNORE_INDEX, PRECISIONS, PUBLISHED_SIZES

EXPORTED = tuple(each.suffix for each in EXPORT_FORMATS.values())
"""Suffixes of exported models."""


class ConfigOptions(argparse.Action):
    """``--cfg-options KEY=VALUE …``: kept as text and parsed when the command reads the config."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds the pairs to those of earlier ``--cfg-options``."""
        for value in values or ():
            if '=' not in value or value.startswith('='):
                parser.error(f'--cfg-options: expected KEY=VALUE, not {value!r}')
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *(values or ())])


class ConfigOrExported(argparse.Action):
    """``CONFIG|FILE``: the suffix decides; the other of ``config`` and ``exported`` is None."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Stores the value in its place."""
        exported = is_exported(str(values))
        namespace.config, namespace.exported = (None, values) if exported else (values, None)


def is_exported(file: str) -> bool:
    """Whether a file is an exported model, by its name."""
    return file.lower().endswith(EXPORTED)


def add_config(parser: ArgumentParser, *, or_exported: bool = False) -> None:
    """CONFIG, --data-root, --cfg-options: the arguments of every command that takes a config.

    A command may take an exported model instead, as ``args.exported``.
    """
    what = 'config file, or the name of one that comes with the package'
    if or_exported:
        parser.add_argument(
            'config',
            metavar='CONFIG|FILE',
            action=ConfigOrExported,
            help=f'{what}; or instead of config and checkpoint an exported model '
            f'({", ".join(EXPORTED)})',
        )
    else:
        parser.add_argument('config', metavar='CONFIG', help=what)
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help='data folder for every dataset and evaluator, instead of the one in the config',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='change the config: model.backbone.drop_path_rate=0.2 train_dataloader.batch_size=2 …',
    )


def add_checkpoint(parser: ArgumentParser, *, optional: bool = False) -> None:
    """CHECKPOINT, which a command may do without if it is optional."""
    options: dict[str, Any] = dict(nargs='?') if optional else {}
    parser.add_argument(
        'checkpoint',
        metavar='CHECKPOINT',
        **options,
        help='checkpoint of a training run, published one (casvit://NAME), or .safetensors',
    )


def add_trust(parser: ArgumentParser) -> None:
    """--trust."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='unpickle files of weights without any check: they can then run any code with your '
        'rights (default: they are read as data, and refused if they hold anything else)',
    )


def add_weights(parser: ArgumentParser) -> None:
    """--weights."""
    parser.add_argument(
        '--weights',
        choices=('model', 'ema'),
        default='model',
        help='if the checkpoint has both: its weights, or their moving average (default: model)',
    )


def add_work_dir(parser: ArgumentParser) -> None:
    """--work-dir."""
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder for logs and results (default: ./work_dirs/<name of the config>)',
    )


def add_overwrite(parser: ArgumentParser) -> None:
    """--overwrite."""
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start a new run in a work dir that has checkpoints of another: nothing is removed at '
        'first, but files of the same names are replaced',
    )


def add_launcher(parser: ArgumentParser) -> None:
    """--launcher, and the rank that older launchers pass as an argument."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='launcher of a distributed run (default: none)',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_seed(parser: ArgumentParser) -> None:
    """--seed."""
    parser.add_argument(
        '--seed', type=int, metavar='N', help='random seed, instead of the one in the config'
    )


def add_quiet(parser: ArgumentParser) -> None:
    """--quiet."""
    parser.add_argument(
        '--quiet', action='store_true', help='show only warnings, errors and the result'
    )


def add_size(parser: ArgumentParser) -> None:
    """--size, for commands that take a config."""
    parser.add_argument(
        '--size',
        choices=PUBLISHED_SIZES,
        help='size of the backbone, instead of the one in the config; everything that depends on '
        'it changes with it',
    )


def add_acceleration(parser: ArgumentParser) -> None:
    """--fuse, --compile, --precision."""
    parser.add_argument(
        '--fuse',
        action='store_true',
        help='fold batch norms into convolutions: the same results, faster',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the model (torch.compile): takes a minute or more once, then is faster',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='fp32',
        help='precision of backbone, neck and dense heads (default: fp32)',
    )


def add_drawing(parser: ArgumentParser) -> None:
    """--line-width, --font-size, --no-labels, --no-boxes: the arguments of commands that draw."""
    group = parser.add_argument_group('drawn images')
    group.add_argument(
        '--line-width',
        type=positive_int,
        metavar='N',
        help='width of lines in pixels (default: depends on the size of the image)',
    )
    group.add_argument(
        '--font-size',
        type=positive_int,
        metavar='N',
        help='height of letters in pixels (default: depends on the size of the image)',
    )
    group.add_argument(
        '--no-labels', action='store_true', help='do not write class names and scores'
    )
    group.add_argument('--no-boxes', action='store_true', help='do not draw boxes')


def add_turns(parser: ArgumentParser | argparse._ArgumentGroup, default: int) -> None:
    """--turns, for commands that measure cases side by side."""
    parser.add_argument(
        '--turns',
        type=positive_int,
        default=default,
        metavar='N',
        help=f'number of turns of each case (default: {default})',
    )


def add_threads(parser: ArgumentParser) -> None:
    """--threads, for commands that start processes of their own."""
    parser.add_argument(
        '--threads',
        type=positive_int,
        metavar='N',
        help="threads of each process (default: torch's)",
    )


def add_device(parser: ArgumentParser) -> None:
    """--device."""
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1 … (default: the first GPU, else the CPU)'
    )


def add_data(parser: ArgumentParser) -> None:
    """DATA and how to read it: the arguments of every command that takes a dataset."""
    parser.add_argument('data', metavar='DATA', help='folder of the dataset, or a COCO file')
    parser.add_argument(
        '--format',
        choices=FORMATS,
        help='format of the annotations (default: detected automatically)',
    )
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of the images that COCO files list (default: found automatically)',
    )
    parser.add_argument(
        '--legend',
        metavar='FILE',
        help='file with the names, or the colours and names, of the classes of semantic masks',
    )
    parser.add_argument(
        '--masks-from-objects',
        action='store_true',
        help='with --task semantic: draw semantic masks from the polygons of a dataset of objects',
    )
    parser.add_argument(
        '--ignore-index',
        type=int,
        default=IGNORE_INDEX,
        metavar='N',
        help=f'pixel value of semantic masks that is ignored (default: {IGNORE_INDEX})',
    )


def acceleration(args: Namespace) -> dict[str, Any]:
    """The options of ``Acceleration`` for --fuse, --compile and --precision."""
    return {
        'fuse': args.fuse,
        'compile': args.compile,
        'precision': args.precision,
        'keep_memory': args.fuse or args.compile,
    }


def of_checkpoints(args: Namespace) -> list[str]:
    """The given options that change a model, which an exported one does not allow."""
    unchanged = {
        'tta': False,
        'fuse': False,
        'compile': False,
        'precision': 'fp32',
        'size': None,
        'weights': 'model',
    }
    return [f'--{name}' for name, value in unchanged.items() if getattr(args, name, value) != value]


def drawing(args: Namespace) -> dict[str, Any]:
    """The options of ``Style`` that the arguments of :func:`add_drawing` change."""
    given = {
        'line_width': args.line_width,
        'font_size': args.font_size,
        'labels': False if args.no_labels else None,
        'boxes': False if args.no_boxes else None,
    }
    return {option: value for option, value in given.items() if value is not None}


def positive_int(text: str) -> int:
    """Type of an argument that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is not at least 1')
    return value


def fraction(text: str) -> float:
    """Type of an argument between 0 and 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{value} is not between 0 and 1')
    return value


def above_zero(text: str) -> float:
    """Type of an argument that is a finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not a number above 0')
    return value


def rate(text: str) -> float:
    """Type of an argument above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0 and at most 1')
    return value


def gib(text: str) -> int:
    """Type of an argument in GiB; its value is in bytes."""
    return int(above_zero(text) * 2**30)
