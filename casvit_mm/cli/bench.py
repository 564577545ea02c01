"""Measures how fast a CAS-ViT is here, in all the ways it can be run.

  casvit bench
      the backbones XS, S, M and T at 512x512, a picture at a time: as published, fused, compiled
  casvit bench --sizes xs --image-size 224 --batch-size 8 --out mine.json
  casvit bench --mode training --variants reference folded compiled
  casvit bench --precision fp32 bf16
      also in bf16, on GPUs and CPUs with instructions for it
  casvit bench --page docs/speed.md --records benchmarks/inference.json benchmarks/training.json
      measures nothing: writes the page on speed from records

Every case runs in a process of its own; the processes take turns, and a ratio is one of
neighbouring turns: that holds on a machine that others use too. Printed are medians with
quartiles. --out keeps every turn, the machine and the versions as JSON.
"""

import datetime
import json
import os
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from casvit_mm import __version__
from casvit_mm.benchmark.cases import VARIANTS, Case
from casvit_mm.benchmark.machine import describe, limits
from casvit_mm.benchmark.measure import BenchmarkError, measure
from casvit_mm.benchmark.roofline import roofline
from casvit_mm.cli import arguments
from casvit_mm.cli.errors import CliError
from casvit_mm.models import ARCHITECTURES
from casvit_mm.models.dense_parts import PRECISIONS
from casvit_mm.report.speed_page import speed_page
from casvit_mm.report.speed_table import speed_table


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        '--sizes',
        nargs='+',
        choices=tuple(ARCHITECTURES),
        default=['xs', 's', 'm', 't'],
        help='sizes of the backbone (default: xs s m t)',
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=sorted({each for variants in VARIANTS.values() for each in variants}),
        help='ways to run it (default: all that the mode has)',
    )
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=tuple(PRECISIONS),
        default=['fp32'],
        help='of all variants but the reference, which is fp32 (default: fp32)',
    )
    parser.add_argument(
        '--mode',
        choices=tuple(VARIANTS),
        default='inference',
        help='what to measure (default: inference)',
    )
    parser.add_argument(
        '--image-size',
        type=arguments.positive_int,
        default=512,
        metavar='N',
        help='side of the square picture, in pixels (default: 512)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        default=1,
        metavar='N',
        help='pictures at once (default: 1)',
    )
    parser.add_argument(
        '--turns',
        type=arguments.positive_int,
        default=9,
        metavar='N',
        help='how often each case gets its turn (default: 9)',
    )
    parser.add_argument(
        '--seconds', type=float, default=2.0, metavar='S', help='length of a turn (default: 2)'
    )
    parser.add_argument(
        '--threads',
        type=arguments.positive_int,
        metavar='N',
        help="threads of each process (default: torch's)",
    )
    arguments.add_device(parser)
    parser.add_argument('--out', metavar='FILE.json', help='write the record here')
    parser.add_argument('--page', metavar='FILE.md', help='write the page on speed of --records')
    parser.add_argument(
        '--records', nargs='+', metavar='FILE.json', help='what --out of earlier runs wrote'
    )


def run(args: Namespace) -> int:
    """Measures and prints a table.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: There is no such device, a case could not be measured, or a file could not be
            read or written.
    """
    if bool(args.page) != bool(args.records):
        raise CliError('--page and --records belong together: a page, and what it is written from.')
    if args.page:
        records = [_read(Path(each).expanduser()) for each in args.records]
        command = f'casvit bench --page {args.page} --records {" ".join(args.records)}'
        _write(speed_page(records, command), Path(args.page).expanduser())
        print(f'page: {args.page}')
        return 0
    device = arguments.find_device(args.device)
    threads = args.threads or torch.get_num_threads()
    record: dict[str, Any] = {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'casvit_mm': __version__,
        'machine': describe(device, threads),
        'limits': limits(device),
        'turns': args.turns,
        'seconds': args.seconds,
    }
    try:
        record['groups'] = measure(
            cases(args, device), threads=threads, turns=args.turns, seconds=args.seconds
        )
    except BenchmarkError as error:
        raise CliError(str(error)) from error
    for group in record['groups']:
        if group['mode'] == 'inference':
            shape = group['size'], group['image_size'], group['batch_size']
            group['roofline'] = asdict(roofline(*shape, record['limits']))
    print(speed_table(record))
    if args.out:
        _write(json.dumps(record, indent=1) + '\n', Path(args.out).expanduser())
        print(f'\nrecord: {args.out}')
    return 0


def cases(args: Namespace, device: str) -> list[Case]:
    """The cases that the arguments ask for, group by group.

    Raises:
        CliError: The mode has no such variant.
    """
    variants = args.variants or VARIANTS[args.mode]
    unknown = [each for each in variants if each not in VARIANTS[args.mode]]
    if unknown:
        raise CliError(
            f'There is no {" or ".join(unknown)} variant in {args.mode}: it has '
            f'{", ".join(VARIANTS[args.mode])}.'
        )
    shape = dict(
        mode=args.mode, image_size=args.image_size, batch_size=args.batch_size, device=device
    )
    found = []
    for size in args.sizes:
        for variant in variants:
            precisions = ['fp32'] if variant == 'reference' else args.precision
            found += [Case(size, variant, precision, **shape) for precision in precisions]
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        if record['groups'] and record['limits'] and record['machine']:
            return record
        raise ValueError('empty')
    except OSError as error:
        raise CliError(f'The record {path} cannot be read: {error.strerror or error}.') from error
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(f'{path} is no record of casvit bench --out.') from error


def _write(text: str, path: Path) -> None:
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as error:
        raise CliError(f'{path} cannot be written: {error.strerror or error}.') from error
    finally:
        unfinished.unlink(missing_ok=True)
