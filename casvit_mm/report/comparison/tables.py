"""Formats a comparison as Markdown tables."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from casvit_mm.report.comparison.times import cases_of, time_of

NONE = '-'
PARTS = {'model': 'whole backbone', 'mixer': 'token mixer'}
LEAST_SECONDS = 5e-5
"""What takes less than this for the largest image does nothing but be called."""


def cost_table(models: Mapping[str, dict[str, Any]]) -> str:
    """What can be counted, and the receptive field.

    Args:
        models: Those of a record of ``casvit compare``.
    """
    titles = (
        'backbone',
        'parameters, M',
        'GMACs',
        'activations, M',
        'receptive field, px (50%)',
        'px (90%)',
    )
    return table_of(titles, (_cost(entry) for entry in models.values()))


def published_table(models: Mapping[str, dict[str, Any]]) -> str:
    """The accuracy that others publish, of backbones for which there is any.

    Args:
        models: Those of a record of ``casvit compare``.
    """
    titles = ('backbone', 'box AP (published)', 'source', 'mIoU (published)', 'source of the mIoU')
    figures = ('box_ap', 'source', 'miou', 'miou_source')
    rows = (
        [entry['label'], *(str(entry['published'].get(each) or NONE) for each in figures)]
        for entry in models.values()
    )
    return table_of(titles, (row for row in rows if set(row[1:]) != {NONE}))


def unpublished(models: Mapping[str, dict[str, Any]]) -> list[str]:
    """The labels of the peers for which there is no published accuracy of either kind.

    Args:
        models: Those of a record of ``casvit compare``.
    """
    return [
        entry['label']
        for entry in models.values()
        if entry['kind'] == 'peer'
        and not (entry['published']['box_ap'] or entry['published'].get('miou'))
    ]


def _cost(entry: dict[str, Any]) -> list[str]:
    facts, sides = entry['facts'], entry['receptive_field']['sides']
    return [
        entry['label'],
        f'{facts["parameters"] / 1e6:.2f}',
        f'{facts["macs"] / 1e9:.2f}',
        f'{facts["activations"] / 1e6:.1f}',
        str(sides['50%']),
        str(sides['90%']),
    ]


def speed_table(record: dict[str, Any]) -> str:
    """Latency, throughput, and what a training step takes.

    Args:
        record: A record of ``casvit compare``.
    """
    batch, variants = (record['settings'][key] for key in ('batch_size', 'variants'))
    titles = (
        'backbone',
        *(f'ms, {name}' for name in variants),
        *(f'images/s, {name}' for name in variants),
        'training step, ms',
        'peak memory, MiB',
    )
    rows = []
    for entry in record['models'].values():
        cases = cases_of(record, entry)
        step = next((case for case in cases if case['mode'] == 'training'), None)
        rows.append(
            [
                entry['label'],
                *(_milliseconds(time_of(cases, name, 1)) for name in variants),
                *(_rate(batch, time_of(cases, name, batch)) for name in variants),
                _milliseconds(step['time'] if step else None),
                f'{step["peak_memory"] / 2**20:.0f}' if step else NONE,
            ]
        )
    return table_of(titles, rows)


def growth_table(record: dict[str, Any]) -> str:
    """Exponents of the power laws of cost over area; linear cost has 1.

    Args:
        record: A record of ``casvit compare``.
    """
    titles = (
        'backbone',
        'part',
        'exponent of MACs',
        'operator that grows fastest',
        'its exponent',
        'exponent of time',
        'between the two largest',
    )
    rows = (
        [entry['label'], PARTS[part], *_exponents(growth)]
        for entry in record['models'].values()
        for part, growth in entry['growth'].items()
    )
    return table_of(titles, rows)


def works(growth: dict[str, Any]) -> bool:
    """Whether a part of a model was measured, and does anything worth measuring."""
    seconds = growth['seconds']
    return seconds is not None and max(time for _, time in seconds['points']) >= LEAST_SECONDS


def _exponents(growth: dict[str, Any]) -> Iterator[str]:
    if macs := growth['macs']:
        yield f'{macs["exponent"]:.2f}'
        yield f'`{macs["steepest"]["operator"]}`'
        yield f'{macs["steepest"]["exponent"]:.2f}'
    else:
        yield from (NONE, NONE, NONE)
    if not works(growth):
        yield from (NONE, NONE)
        return
    seconds = growth['seconds']
    *_, (before, time_before), (last, time_last) = seconds['points']
    yield f'{seconds["exponent"]:.2f}'
    yield f'{math.log(time_last / time_before) / math.log(last / before):.2f}'


def failures(record: dict[str, Any]) -> list[str]:
    """A sentence for each case that could not be measured.

    Args:
        record: A record of ``casvit compare``.
    """
    lines = []
    for entry in record['models'].values():
        groups = [entry['speed'], *entry['growth'].values()]
        for case in (case for group in groups for case in group['failures']):
            shape = f'{case["batch_size"]}x{case["image_size"]}x{case["image_size"]}'
            lines.append(
                f'{entry["label"]}, {case["mode"]}, {case["name"]}, {shape}: '
                + (case['reason'].rstrip('.') + '.')
            )
    return lines


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return f'{1000 * seconds:.0f}' if seconds >= 0.1 else f'{1000 * seconds:.3g}'


def _rate(batch: int, seconds: float | None) -> str:
    return NONE if seconds is None else f'{batch / seconds:.3g}'


def table_of(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of titles and rows."""
    lines = [f'| {" | ".join(titles)} |', f'| {" | ".join("---" for _ in titles)} |']
    lines += [f'| {" | ".join(row)} |' for row in rows]
    return '\n'.join(lines)
