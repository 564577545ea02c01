"""Measures the speed of CAS-ViT on this machine."""

import datetime
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from casvit.errors import CliError
from casvit_mm import __version__
from casvit_mm.benchmark.convergence import read_run
from casvit_mm.benchmark.growth import growth
from casvit_mm.benchmark.machine import describe, limits
from casvit_mm.benchmark.measure import measure
from casvit_mm.benchmark.pipeline import time_pipeline
from casvit_mm.benchmark.plan import add_facts, groups
from casvit_mm.commands.bench_formats import formats_record
from casvit_mm.commands.pages import (
    address,
    not_written,
    require_page_and_records,
    write_file,
)
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.edit import reroot
from casvit_mm.config.read import load_config
from casvit_mm.datasets.preflight.check import check_data
from casvit_mm.report.speed.formats import formats_page, formats_table
from casvit_mm.report.speed.page import speed_page, tables_page
from casvit_mm.report.speed.plots import speed_plots
from casvit_mm.report.speed.table import (
    by_machine,
    convergence_table,
    pipeline_table,
    speed_table,
)
from casvit_mm.speed.devices import usable_device


def run(args: Namespace) -> int:
    """Measures and prints a table.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The device does not exist, a case could not be measured, or a file could not be
            read or written.
    """
    if args.data_root and not (args.pipelines or args.evaluate):
        raise CliError(
            '--data-root belongs to --pipelines and --evaluate: models are measured without data.'
        )
    require_page_and_records(args)
    if args.page:
        return _write_page(Path(args.page).expanduser(), args.records)
    if args.out:
        _require_folder_of(Path(args.out).expanduser())
    record: dict[str, Any] = {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'casvit_mm': __version__,
    }
    if args.note:
        record['note'] = args.note
    if args.runs:
        record['runs'] = [read_run(Path(each).expanduser()) for each in args.runs]
        _keep(record, args)
        print(convergence_table(record))
    elif args.pipelines:
        threads = torch.get_num_threads()
        record |= {'machine': describe('cpu', threads), 'pipelines': _pipelines(args)}
        _keep(record, args)
        print(pipeline_table(record))
    elif args.formats is not None:
        record |= formats_record(args)
        _keep(record, args)
        print(formats_table(record))
    else:
        args.image_size = args.image_size or [512]
        _measure(record, args)
        print(speed_table(record))
    if args.out:
        print(f'\nrecord: {args.out}')
    return 0


def _pipelines(args: Namespace) -> list[dict[str, Any]]:
    """Measures the training pipelines of configs.

    Raises:
        CliError: A config has no train_dataloader.
        DatasetError: The dataset is missing, or does not match the config.
    """
    measured = []
    for name in args.pipelines:
        cfg = load_config(name)
        if args.data_root:
            reroot(cfg, args.data_root)
        if not cfg.get('train_dataloader'):
            raise CliError(f'The config {cfg.filename} has no train_dataloader.')
        load_toolbox(cfg)
        check_data(cfg, ('train',))
        measured.append({'config': Path(cfg.filename).stem, **time_pipeline(cfg, args.samples)})
    return measured


def _keep(record: dict[str, Any], args: Namespace) -> None:
    """Writes the record to the file that --out names, if any."""
    if args.out:
        write_file(json.dumps(record, indent=1) + '\n', Path(args.out).expanduser())


def _measure(record: dict[str, Any], args: Namespace) -> None:
    """Runs the measurements that the arguments ask for; writes the record after each group."""
    device = usable_device(args.device)
    threads = args.threads or torch.get_num_threads()
    planned = groups(args, [_checked_config(name) for name in args.configs], device)
    record |= {
        'machine': describe(device, threads),
        'limits': limits(device),
        'turns': args.turns,
        'seconds': args.seconds,
        'groups': [],
    }
    for group in measure(planned, threads=threads, turns=args.turns, seconds=args.seconds):
        group['growth'] = growth(group['cases'])
        for case in group['cases']:
            add_facts(case, record['limits'])
        record['groups'].append(group)
        _keep(record, args)


def _checked_config(name: str) -> str:
    cfg = load_config(name)
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    load_toolbox(cfg)
    require_matching_channels(cfg)
    return cfg.filename


def _write_page(page: Path, names: list[str]) -> int:
    """Writes the pages on speed, and the plots of each machine next to its first record."""
    records = [_read(Path(each).expanduser()) for each in names]
    command = f'casvit bench --page {page} --records {" ".join(names)}'
    if any('formats' in each for each in records):
        if not all('formats' in each for each in records):
            raise CliError('--records of --formats have a page of their own: name only those.')
        write_file(formats_page(records, command), page)
        print(f'page: {page}')
        return 0
    images: dict[str, dict[str, str]] = {}
    folders: dict[Path, str] = {}
    for machine, of_it in by_machine(records).items():
        folder = Path(names[records.index(of_it[0])]).expanduser().parent
        if folder in folders:
            raise CliError(
                f'{folder} holds records of two machines, {folders[folder]} and {machine}, whose '
                'plots have the same names: use one folder per machine.'
            )
        folders[folder] = machine
        for name, plot in speed_plots(of_it).items():
            file = folder / f'{name}.png'
            write_file(plot, file)
            print(f'plot: {file}')
            images.setdefault(machine, {})[name] = address(file, page)
    tables = page.with_name(f'{page.stem}_tables{page.suffix}')
    write_file(speed_page(records, tables.name, images), page)
    write_file(tables_page(records, command, page.name), tables)
    print(f'page: {page}\ntables: {tables}')
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        measured = record.get('groups') and record['limits'] and record['machine']
        if measured or any(record.get(key) for key in ('runs', 'pipelines', 'formats')):
            return record
        raise ValueError('empty')
    except OSError as error:
        raise CliError(f'The record {path} cannot be read: {error.strerror or error}.') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f'{path} is not a record written by casvit bench --out.') from error


def _require_folder_of(path: Path) -> None:
    """Stops before minutes of measuring if their record cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(path, error) from error
