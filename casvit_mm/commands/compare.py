"""Compares the token mixers of CAS-ViT, and other backbones, on this machine."""

import importlib
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from casvit.errors import CliError
from casvit.sentences import first_line
from casvit.tables import COMPARED_VARIANTS, PUBLISHED_SIZES, TRAINED_PEERS
from casvit_mm.commands.compare_training import train
from casvit_mm.commands.pages import address, require_page_and_records, write_file
from casvit_mm.comparison.candidates import (
    Candidate,
    mixer_candidates,
    peer_candidates,
    size_candidates,
)
from casvit_mm.comparison.measure import measure_candidate
from casvit_mm.comparison.plan import Settings
from casvit_mm.comparison.record import (
    add_imports,
    command_of,
    keep_record,
    open_record,
    read_record,
    trained_command_of,
)
from casvit_mm.models.pyramids.timm_pyramid import require_timm
from casvit_mm.report.comparison.page import comparison_page
from casvit_mm.report.comparison.plots import comparison_plots
from casvit_mm.report.comparison.tables import cost_table, growth_table, speed_table
from casvit_mm.report.comparison.trained import trained_tables
from casvit_mm.speed.devices import usable_device

# Sides of the images for the growth of the cost, as multiples of that of the others.
GROWTH = (0.5, 0.75, 1, 1.5, 2)


def run(args: Namespace) -> int:
    """Measures, and prints tables.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        UserError: A name is unknown, the device does not exist, a model could not be measured, the
            record is of other settings, or a file could not be read or written.
    """
    require_page_and_records(args)
    if args.page:
        return _write_page(
            Path(args.page).expanduser(), [Path(each).expanduser() for each in args.records]
        )
    if not args.out:
        raise CliError('Say where to keep what is measured with --out FOLDER.')
    folder = Path(args.out).expanduser()
    candidates = _candidates(args)
    settings = _settings(args)
    if args.train:
        record = train(args, candidates, settings, folder)
        print('\n\n'.join(trained_tables(record)))
        return _end(record, folder)
    record = open_record(folder, settings)
    add_imports(record, args.custom_imports)
    keep_record(record, folder)
    left = [each for each in candidates if each.key not in record['models']]
    for index, candidate in enumerate(left, 1):
        print(f'{index}/{len(left)} {candidate.label}', file=sys.stderr, flush=True)
        record['models'][candidate.key] = measure_candidate(
            candidate, settings, args.custom_imports
        )
        keep_record(record, folder)
    tables = cost_table(record['models']), speed_table(record), growth_table(record)
    print('\n\n'.join(tables))
    return _end(record, folder)


def _end(record: dict[str, Any], folder: Path) -> int:
    for file in _write_plots(record, folder).values():
        print(f'plot: {file}')
    print(f'record: {folder / "compare.json"}')
    return 0


def _candidates(args: Namespace) -> list[Candidate]:
    # The folder from which the command is run, as for `python -m`.
    if args.custom_imports and '' not in sys.path:
        sys.path.insert(0, '')
    for module in args.custom_imports:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise CliError(
                f'--custom-imports {module} cannot be imported: {first_line(error)}.'
            ) from error
    peers: list[Candidate] = []
    if not args.no_peers:
        peers = peer_candidates(args.peers or (TRAINED_PEERS if args.train else None))
        require_timm()
    mixers = mixer_candidates(args.size, args.mixers)
    sizes = size_candidates(_other_sizes(args))
    # What is named twice is compared once.
    return list({each.key: each for each in (*mixers, *sizes, *peers)}.values())


def _other_sizes(args: Namespace) -> list[str]:
    if args.other_sizes is None:
        if args.no_peers or args.train:
            return []
        return [size for size in PUBLISHED_SIZES if size != args.size]
    if args.size in args.other_sizes:
        raise CliError(
            f'--other-sizes names {args.size}, which is the --size with the token mixers.'
        )
    return list(args.other_sizes)


def _settings(args: Namespace) -> Settings:
    sides = args.growth_sizes or [int(factor * args.image_size) for factor in GROWTH]
    return Settings(
        size=args.size,
        image_size=args.image_size,
        # In the order of the tables.
        variants=tuple(each for each in COMPARED_VARIANTS if each in args.variants),
        growth_sizes=tuple(sorted(set(sides))),
        batch_size=args.batch_size,
        turns=args.turns,
        seconds=args.seconds,
        threads=args.threads or torch.get_num_threads(),
        device=usable_device(args.device),
    )


def _write_page(page: Path, files: list[Path]) -> int:
    """Writes the page, and the plots of each record next to it."""
    if len({file.parent.resolve() for file in files}) < len(files):
        raise CliError('Two --records are in one folder, but each has plots of the same names.')
    records = [read_record(file) for file in files]
    for file, record in zip(files, records, strict=True):
        if not record['models'] and not record.get('trained', {}).get('runs'):
            raise CliError(f'{file} has no model yet: measure one with casvit compare --out.')
    plots = [
        {name: address(plot, page) for name, plot in _write_plots(record, file.parent).items()}
        for record, file in zip(records, files, strict=True)
    ]
    names = ' '.join(map(str, files))
    command = f'casvit compare --page {page} --records {names}'
    measured = [command_of(record) for record in records]
    trained = [trained_command_of(each) if each.get('trained') else '' for each in records]
    write_file(comparison_page(records, plots, measured, command, trained), page)
    print(f'page: {page}')
    return 0


def _write_plots(record: dict[str, Any], folder: Path) -> dict[str, Path]:
    files = {}
    for name, plot in comparison_plots(record).items():
        files[name] = folder / f'{name}.png'
        write_file(plot, files[name])
    return files
