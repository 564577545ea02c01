"""The records of a benchmark as tables."""

import json
import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

METRICS = {
    'coco/bbox_mAP': 'box AP',
    'coco/segm_mAP': 'mask AP',
    'mIoU': 'mIoU',
    'accuracy/top1': 'top-1',
}


def speed_table(record: dict[str, Any]) -> str:
    """Markdown: a line on the machine, a table of all cases, and how cost grows.

    Args:
        record: What ``casvit bench`` measured.

    Returns:
        The text; times in milliseconds, each median with its quartiles.
    """
    lines = [
        machine_line(record),
        '',
        f'| model | input | mode | variant | ms | times as fast as {_baseline(record)} | '
        'peak memory | warm-up |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for group in record['groups']:
        for case in group['cases']:
            side = case['image_size']
            lines.append(
                f'| {case["label"]} | {case["batch_size"]}x{side}x{side} | {case["mode"]} | '
                f'{case["name"]} | {_spread(case["seconds"], 1000, 0)} | {_ratio(case)} | '
                f'{case["peak_memory"] / 1024**2:.0f} MiB | {case["warm_up"]:.0f} s |'
            )
    series = [each for group in record['groups'] for each in group['growth']]
    return '\n'.join(lines) + (f'\n\n{growth_table(series)}' if series else '')


def machine_line(record: dict[str, Any]) -> str:
    """Where and when a record was measured."""
    limits = record['limits']
    rates = limits['gemm_flops_per_second'].items()
    products = ' and '.join(f'{rate / 1e9:.0f} GFLOP/s ({name})' for name, rate in rates)
    note = f'; {record["note"]}' if record.get('note') else ''
    return (
        f'{machine_name(record)}; torch {record["machine"]["versions"]["torch"]}; '
        f'{record["date"]}; copies {limits["copy_bytes_per_second"] / 1e9:.1f} GB/s, multiplies '
        f'matrices at {products}{note}'
    )


def machine_name(record: dict[str, Any]) -> str:
    """What a record was measured on: its GPU, or its processor and how many threads of it."""
    machine = record['machine']
    return machine.get('gpu') or f'{machine["processor"]}, {machine["threads"]} threads'


def by_machine(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The records that have a machine, by its name, in the order that the machines appear in."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record.get('machine'):
            found.setdefault(machine_name(record), []).append(record)
    return found


def growth_table(series: Sequence[dict[str, Any]]) -> str:
    """Markdown: exponents of power laws; a cost that is linear in the number of pixels has 1.

    What a call costs whatever its input makes the exponent smaller, so that between the two
    largest inputs is told too.
    """
    lines = [
        '| model | variant | mode | grows over | pixels in all | exponent | off the line by | '
        'exponent of the two largest |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for each in series:
        fixed = (
            f'image side, batch {each["batch_size"]}'
            if each['over'] == 'image_size'
            else f'batch, {each["image_size"]}x{each["image_size"]}'
        )
        first, *_, (before, seconds_before), (last, seconds_last) = each['points']
        steepness = math.log(seconds_last / seconds_before) / math.log(last / before)
        lines.append(
            f'| {each["label"]} | {each["name"]} | {each["mode"]} | {fixed} | '
            f'{first[0]:,} to {last:,} | {each["exponent"]:.2f} | '
            f'{each["deviation"]:.0%} at most | {steepness:.2f} |'
        )
    return '\n'.join(lines)


def convergence_table(record: dict[str, Any]) -> str:
    """Markdown: what runs reached, by their switches; each metric's mean, and the single runs.

    Args:
        record: What ``casvit bench --runs`` read.
    """
    by_switches: dict[str, list[dict[str, Any]]] = {}
    for run in record['runs']:
        by_switches.setdefault(_switches(run['speed']), []).append(run)
    names = [name for name in METRICS if any(name in run['metrics'] for run in record['runs'])]
    titles = [METRICS[name] for name in names]
    lines = [
        f'| speed | seeds | {" | ".join(titles)} |',
        f'| --- | --- | {" | ".join("---" for _ in names)} |',
    ]
    for switches, runs in by_switches.items():
        runs = sorted(runs, key=lambda run: run['seed'])
        cells = []
        for name in names:
            values = [run['metrics'][name] for run in runs]
            cells.append(f'{mean(values):.3f} ({", ".join(f"{value:.3f}" for value in values)})')
        seeds = ', '.join(str(run['seed']) for run in runs)
        lines.append(f'| {switches} | {seeds} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def pipeline_table(record: dict[str, Any]) -> str:
    """Markdown: how many images a worker prepares for training, and what that takes.

    Args:
        record: What ``casvit bench --pipelines`` measured.
    """
    lines = [
        '| config | images | ms each | a worker, per second | steps, ms |',
        '| --- | --- | --- | --- | --- |',
    ]
    for each in record['pipelines']:
        steps = [f'{step["name"]} {1000 * step["seconds"]:.1f}' for step in each['steps']]
        mean_seconds = sum(step['seconds'] for step in each['steps'])
        lines.append(
            f'| {each["config"]} | {each["samples"]} | {_spread(each["seconds"], 1000, 1)} | '
            f'{1 / mean_seconds:.0f} | {", ".join(steps)} |'
        )
    return '\n'.join(lines)


def _switches(speed: dict[str, Any]) -> str:
    on = [
        name if value is True else f'{name}={json.dumps(value)}'
        for name, value in speed.items()
        if value not in (False, 'fp32')
    ]
    return ', '.join(on) or 'none'


def _baseline(record: dict[str, Any]) -> str:
    group = record['groups'][0]
    if group['yardstick'] is None:
        return 'the reference'
    case = group['cases'][group['yardstick']]
    return f'{case["label"]} {case["name"]}'


def _ratio(case: dict[str, Any]) -> str:
    return _spread(case['ratio'], 1, 2) if 'ratio' in case else '-'


def _spread(values: dict[str, float], factor: float, digits: int) -> str:
    low, median, high = (values[key] * factor for key in ('low', 'median', 'high'))
    return f'{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'
