"""Arguments that several commands share, under the same names everywhere."""

import argparse
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import DictAction

from casvit.errors import CliError
from casvit_mm.models.dense_parts import PRECISIONS
from casvit_mm.models.matrix_products import gains_from, works_in


class ConfigOptions(DictAction):
    """``--cfg-options KEY=VALUE …``, with a usage message for what is not of that form."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Parses the pairs into a dict of the namespace."""
        for value in values or ():
            if '=' not in value or value.startswith('='):
                parser.error(f'--cfg-options wants KEY=VALUE, not {value!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, ValueError) as error:
            parser.error(f'--cfg-options: {error}')
        except RecursionError:
            # mmengine's parser of lists does not end where an item has brackets inside a word.
            parser.error(
                '--cfg-options: a list may hold numbers, words and lists; what holds dicts belongs '
                'into a config of your own'
            )


def add_config(parser: ArgumentParser) -> None:
    """CONFIG, --data-root, --cfg-options: what every command that has a config takes."""
    parser.add_argument(
        'config',
        metavar='CONFIG',
        help='config file, or the name of one that comes with the package',
    )
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help="folder of the data, instead of the config's, for every data set and evaluator",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='change the config: model.backbone.drop_path_rate=0.2 train_dataloader.batch_size=2 …',
    )


def add_checkpoint(parser: ArgumentParser) -> None:
    """CHECKPOINT."""
    parser.add_argument(
        'checkpoint',
        metavar='CHECKPOINT',
        help='weights: of a training run, as the authors publish them, or .safetensors',
    )


def add_weights(parser: ArgumentParser) -> None:
    """--weights."""
    parser.add_argument(
        '--weights',
        choices=('model', 'ema'),
        default='model',
        help='of a published file that has both: its weights, or their moving average',
    )


def add_work_dir(parser: ArgumentParser) -> None:
    """--work-dir."""
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder for logs and results (default: ./work_dirs/<name of the config>)',
    )


def add_launcher(parser: ArgumentParser) -> None:
    """--launcher, and the rank that older launchers pass as an argument."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='what started the processes of a distributed run (default: none)',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_seed(parser: ArgumentParser) -> None:
    """--seed."""
    parser.add_argument(
        '--seed', type=int, metavar='N', help="random seed, instead of the config's"
    )


def add_acceleration(parser: ArgumentParser) -> None:
    """--fuse, --compile, --precision."""
    parser.add_argument(
        '--fuse',
        action='store_true',
        help='fold batch norms into convolutions: the same answers, sooner',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the model (torch.compile): a minute or more once, then faster',
    )
    parser.add_argument(
        '--precision',
        choices=tuple(PRECISIONS),
        default='fp32',
        help='compute backbone, neck and dense heads in this precision (default: fp32)',
    )


def acceleration(args: Namespace) -> dict[str, Any]:
    """What --fuse, --compile and --precision ask for, as ``Acceleration`` takes it."""
    return {
        'fuse': args.fuse,
        'compile': args.compile,
        'precision': args.precision,
        'keep_memory': args.fuse or args.compile,
    }


def check_precision(precision: str, device: str) -> str:
    """Looks whether a device can compute in a precision, and gains from it.

    Args:
        precision: A key of :data:`casvit_mm.models.dense_parts.PRECISIONS`.
        device: Where the model runs.

    Returns:
        A sentence if the device gains nothing from it; empty if there is nothing to say.

    Raises:
        CliError: This torch does not compute in it there.
    """
    dtype = PRECISIONS[precision]
    if dtype is torch.float32:
        return ''
    name = 'CPU' if torch.device(device).type == 'cpu' else 'device'
    if not works_in(device, dtype):
        raise CliError(
            f'torch {torch.__version__} does not compute in {precision} on this {name}: choose '
            'another --precision.'
        )
    if gains_from(device, dtype):
        return ''
    return f'Note: this {name} is not faster in {precision} than in fp32.'


def add_device(parser: ArgumentParser) -> None:
    """--device."""
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1 … (default: the first GPU, else the CPU)'
    )


def find_device(name: str | None) -> str:
    """The device to run on.

    Args:
        name: What was asked for; None takes the first GPU if there is one.

    Raises:
        CliError: There is no such device.
    """
    if name is None:
        return 'cuda:0' if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CliError(f'--device {name} cannot be used: {reason}') from error
    return name


def export_local_rank(args: argparse.Namespace) -> None:
    """Puts --local_rank where mmengine looks for it, unless the launcher did."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


def positive_int(text: str) -> int:
    """Type of an argument that counts something."""
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
