"""Measures how fast a CAS-ViT is on this machine."""

import datetime
import json
import os
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from casvit.errors import CliError
from casvit.files import written_whole
from casvit.tables import PEERS
from casvit_mm import __version__
from casvit_mm.benchmark.cases import Case, variants
from casvit_mm.benchmark.convergence import RunError, read_run
from casvit_mm.benchmark.growth import growth
from casvit_mm.benchmark.machine import describe, limits
from casvit_mm.benchmark.measure import BenchmarkError, Group, measure
from casvit_mm.benchmark.peers import published_casvit
from casvit_mm.benchmark.pipeline import time_pipeline
from casvit_mm.benchmark.roofline import roofline
from casvit_mm.commands.devices import find_device
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.edit import reroot
from casvit_mm.config.read import load_config
from casvit_mm.datasets.preflight.check import check_data
from casvit_mm.report.speed.page import speed_page
from casvit_mm.report.speed.plots import speed_plots
from casvit_mm.report.speed.table import (
    by_machine,
    convergence_table,
    pipeline_table,
    speed_table,
)

YARDSTICK = ('m', 'fused')


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
    if args.data_root and not args.pipelines:
        raise CliError('--data-root belongs to --pipelines: models are measured without data.')
    if bool(args.page) != bool(args.records):
        raise CliError('--page and --records belong together: a page, and what it is written from.')
    if args.page:
        return _write_page(Path(args.page).expanduser(), args.records)
    record: dict[str, Any] = {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'casvit_mm': __version__,
    }
    if args.note:
        record['note'] = args.note
    if args.runs:
        try:
            record['runs'] = [read_run(Path(each).expanduser()) for each in args.runs]
        except RunError as error:
            raise CliError(str(error)) from error
        _keep(record, args)
        print(convergence_table(record))
    elif args.pipelines:
        threads = torch.get_num_threads()
        record |= {'machine': describe('cpu', threads), 'pipelines': _pipelines(args)}
        _keep(record, args)
        print(pipeline_table(record))
    else:
        _measure(record, args)
        print(speed_table(record))
    if args.out:
        print(f'\nrecord: {args.out}')
    return 0


def _pipelines(args: Namespace) -> list[dict[str, Any]]:
    """Times the data of training configs.

    Raises:
        CliError: A config has no data to train on.
        DatasetError: They are not there, or not what the config says.
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
    """Writes the record where it is wanted."""
    if args.out:
        _write(json.dumps(record, indent=1) + '\n', Path(args.out).expanduser())


def _measure(record: dict[str, Any], args: Namespace) -> None:
    """Adds to a record what the arguments ask to be measured, and keeps it after each group."""
    device = find_device(args.device)
    threads = args.threads or torch.get_num_threads()
    planned = groups(args, device)
    record |= {
        'machine': describe(device, threads),
        'limits': limits(device),
        'turns': args.turns,
        'seconds': args.seconds,
        'groups': [],
    }
    try:
        for group in measure(planned, threads=threads, turns=args.turns, seconds=args.seconds):
            group['growth'] = growth(group['cases'])
            for case in group['cases']:
                _add_facts(case, record['limits'])
            record['groups'].append(group)
            _keep(record, args)
    except BenchmarkError as error:
        raise CliError(str(error)) from error


def _add_facts(case: dict[str, Any], limits: dict[str, Any]) -> None:
    """Adds what is known of a case and not measured (its roofline, a published accuracy)."""
    if case['kind'] == 'backbone':
        shape = case['model'], case['image_size'], case['batch_size']
        precision, training = case['precision'], case['mode'] == 'training'
        if precision in limits['gemm_flops_per_second']:
            least = roofline(*shape, limits, precision=precision, training=training)
            case['roofline'] = asdict(least)
        case['published'] = published_casvit(case['model'])
    elif case['kind'] == 'config':
        # Where its file lies is nobody else's matter.
        case['model'] = case['label']
    elif case['kind'] == 'peer':
        peer = PEERS[case['model']]
        case['published'] = {'box_ap': peer.box_ap, 'source': peer.source}


def groups(args: Namespace, device: str) -> list[Group]:
    """What the arguments ask for: a group of each model.

    Raises:
        CliError: The mode has no such variant, there is no such peer, or a config cannot be
            measured.
    """
    peers = _peers(args)
    sizes = args.sizes or ([] if args.configs else ['xs', 's', 'm', 't'])
    models = [*sizes, *map(_checked_config, args.configs), *peers]
    yardstick = None
    if peers:
        shape = args.image_size[0], args.batch_size[0]
        yardstick = Case(*YARDSTICK, 'fp32', args.mode, *shape, device)
    return [
        Group(
            cases[0].label,
            tuple(cases) if yardstick in cases or not yardstick else (yardstick, *cases),
            yardstick,
        )
        for cases in (_cases(model, args, device) for model in models)
    ]


def _checked_config(name: str) -> str:
    cfg = load_config(name)
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    load_toolbox(cfg)
    require_matching_channels(cfg)
    return cfg.filename


def _peers(args: Namespace) -> list[str]:
    if args.peers is None:
        return []
    unknown = [each for each in args.peers if each not in PEERS]
    if unknown:
        raise CliError(f'There is no peer {", ".join(unknown)}; there are {", ".join(PEERS)}.')
    if args.mode != 'inference' or len(args.image_size) + len(args.batch_size) > 2:
        raise CliError('--peers are measured in inference, on one size of pictures and batch.')
    return args.peers or list(PEERS)


def _cases(model: str, args: Namespace, device: str) -> list[Case]:
    known = variants(model, args.mode)
    chosen = args.variants or known
    if model not in PEERS:
        unknown = [each for each in chosen if each not in known]
        if unknown:
            raise CliError(
                f'There is no {" or ".join(unknown)} variant in {args.mode}: it has '
                f'{", ".join(known)}.'
            )
    return [
        Case(model, variant, precision, args.mode, image_size, batch_size, device)
        for image_size in args.image_size
        for batch_size in args.batch_size
        for variant in (known if model in PEERS else chosen)
        for precision in (['fp32'] if variant == 'reference' else args.precision)
    ]


def _write_page(page: Path, names: list[str]) -> int:
    """Writes the page on speed, and the plots of each machine beside its first record."""
    records = [_read(Path(each).expanduser()) for each in names]
    pictures: dict[str, dict[str, str]] = {}
    folders: dict[Path, str] = {}
    for machine, of_it in by_machine(records).items():
        folder = Path(names[records.index(of_it[0])]).expanduser().parent
        if folder in folders:
            raise CliError(
                f'In {folder} lie records of two machines, {folders[folder]} and {machine}: '
                'give each a folder, their plots have the same names.'
            )
        folders[folder] = machine
        for name, plot in speed_plots(of_it).items():
            file = folder / f'{name}.png'
            _write(plot, file)
            print(f'plot: {file}')
            address = Path(os.path.relpath(file, page.parent)).as_posix()
            pictures.setdefault(machine, {})[name] = address
    command = f'casvit bench --page {page} --records {" ".join(names)}'
    _write(speed_page(records, command, pictures), page)
    print(f'page: {page}')
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        measured = record.get('groups') and record['limits'] and record['machine']
        if measured or record.get('runs') or record.get('pipelines'):
            return record
        raise ValueError('empty')
    except OSError as error:
        raise CliError(f'The record {path} cannot be read: {error.strerror or error}.') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f'{path} is no record of casvit bench --out.') from error


def _write(content: str | bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as unfinished:
            unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise CliError(f'{path} cannot be written: {error.strerror or error}.') from error
