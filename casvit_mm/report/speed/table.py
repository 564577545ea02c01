"""Formats the records of a benchmark as tables."""

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
    """Markdown: a line on the machine, a table of all cases, and a table on how cost grows.

    Args:
        record: A record of ``casvit bench``.

    Returns:
        The text; times are in milliseconds, as medians with quartiles.
    """
    cases = [case for group in record['groups'] for case in group['cases']]
    has_parts = any('others_per_backbone' in case for case in cases)
    parts = ' ms of the backbone | other time / backbone |' if has_parts else ''
    lines = [
        machine_line(record),
        '',
        f'| model | input | mode | variant | ms |{parts} times as fast as {_baseline(record)} | '
        'peak memory | warm-up |',
        f'| --- | --- | --- | --- | --- |{" --- | --- |" if has_parts else ""} --- | --- | --- |',
    ]
    for case in cases:
        side = case['image_size']
        parts = f' {_parts(case)} |' if has_parts else ''
        lines.append(
            f'| {case["label"]} | {case["batch_size"]}x{side}x{side} | {case["mode"]} | '
            f'{case["name"]} | {_spread(case["seconds"], 1000, 0)} |{parts} {_ratio(case)} | '
            f'{case["peak_memory"] / 1024**2:.0f} MiB | {case["warm_up"]:.0f} s |'
        )
    series = [each for group in record['groups'] for each in group['growth']]
    return '\n'.join(lines) + (f'\n\n{growth_table(series)}' if series else '')


def machine_line(record: dict[str, Any]) -> str:
    """A line on where and when a record was measured."""
    limits = record['limits']
    rates = limits['gemm_flops_per_second'].items()
    products = ' and '.join(f'{rate / 1e9:.0f} GFLOP/s ({name})' for name, rate in rates)
    note = f'; {record["note"]}' if record.get('note') else ''
    return (
        f'{machine_name(record)}; torch {record["machine"]["versions"]["torch"]}; '
        f'{record["date"]}; copy {limits["copy_bytes_per_second"] / 1e9:.1f} GB/s, matrix product '
        f'{products}{note}'
    )


def machine_name(record: dict[str, Any]) -> str:
    """The machine of a record: its GPU, or its processor and the number of threads used."""
    machine = record['machine']
    return machine.get('gpu') or f'{machine["processor"]}, {machine["threads"]} threads'


def by_machine(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Groups the records by machine, in order of appearance; records without one are left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record.get('machine'):
            found.setdefault(machine_name(record), []).append(record)
    return found


def growth_table(series: Sequence[dict[str, Any]]) -> str:
    """Markdown table of power-law exponents; a cost that is linear in the number of pixels has 1.

    The fixed cost of a call makes the exponent smaller, so the exponent between the two largest
    inputs is given too.
    """
    lines = [
        '| model | variant | mode | growing | pixels per batch | exponent | deviation from the fit '
        '| exponent between the two largest |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for each in series:
        fixed = (
            f'image size, at batch size {each["batch_size"]}'
            if each['over'] == 'image_size'
            else f'batch size, at {each["image_size"]}x{each["image_size"]}'
        )
        first, *_, (before, seconds_before), (last, seconds_last) = each['points']
        steepness = math.log(seconds_last / seconds_before) / math.log(last / before)
        lines.append(
            f'| {each["label"]} | {each["name"]} | {each["mode"]} | {fixed} | '
            f'{first[0]:,} to {last:,} | {each["exponent"]:.2f} | '
            f'at most {each["deviation"]:.0%} | {steepness:.2f} |'
        )
    return '\n'.join(lines)


def convergence_table(record: dict[str, Any]) -> str:
    """Markdown table of the metrics of runs by ``speed`` options: means, and the single runs.

    Args:
        record: A record of ``casvit bench --runs``.
    """
    by_switches: dict[str, list[dict[str, Any]]] = {}
    for run in record['runs']:
        by_switches.setdefault(_switches(run['speed']), []).append(run)
    names = [name for name in METRICS if any(name in run['metrics'] for run in record['runs'])]
    titles = [METRICS[name] for name in names]
    lines = [
        f'| `speed` options | seeds | {" | ".join(titles)} |',
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
    """Markdown table of the time to prepare training images, and images per second per worker.

    Args:
        record: A record of ``casvit bench --pipelines``.
    """
    lines = [
        '| config | images | ms per image | images per second and worker | ms per transform |',
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


def _parts(case: dict[str, Any]) -> str:
    """Two cells: the time of the backbone, and that of everything else as a multiple of it."""
    if 'others_per_backbone' not in case:
        return '- | -'
    backbone = _spread(case['backbone_seconds'], 1000, 0)
    return f'{backbone} | {_spread(case["others_per_backbone"], 1, 2)}'


def _spread(values: dict[str, float], factor: float, digits: int) -> str:
    low, median, high = (values[key] * factor for key in ('low', 'median', 'high'))
    return f'{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'
