"""Formats measurements of exported models as a table."""

from collections.abc import Sequence
from typing import Any

from casvit_mm.report.speed.table import METRICS, machine_name

EXPLANATION = """\
Every row is a file of the same trained model, exported for one size of input and run in a process
of its own; the processes take turns. *p50 / p95* are the median and the 95th percentile of the
time from the uint8 input to boxes, masks or logits: without reading and resizing the image.
*Took* is the device and the precision that the runtime reports, *installed* what it needs on disk
with all its dependencies, and *peak memory* that of the whole process. The star marks the fastest
row. Accuracy is measured by OpenMMLab's evaluators; exported models read the images themselves.
"""


def formats_page(records: Sequence[dict[str, Any]], command: str) -> str:
    """Markdown: the page with the tables of several models.

    Args:
        records: Records of ``casvit bench --formats``.
        command: The command that writes the page from them.
    """
    parts = [
        '# Formats, measured',
        f'Written by `{command}` from the records of `casvit bench --formats`; '
        '[Deploy](deploy.md) explains the formats.',
        EXPLANATION,
    ]
    for record in records:
        parts += [f'## {record["model"]}', formats_table(record)]
    return '\n\n'.join(part.rstrip('\n') for part in parts) + '\n'


def formats_table(record: dict[str, Any]) -> str:
    """Markdown: a line on the machine and the model, and a row for each format.

    Args:
        record: A record of ``casvit bench --formats``.

    Returns:
        The text. The row with the lowest median time is marked with a star; formats that could not
        be exported are listed with the reason.
    """
    rows = [row for row in record['formats'] if row['measured']]
    threads = sorted({each['threads'] for row in rows for each in row['measured']})
    metrics = sorted(
        {name for row in rows for name in row.get('metrics', {}) if name in METRICS},
        key=list(METRICS).index,
    )
    best = min(rows, key=_fastest)['label']
    height, width = record['size']
    columns = [
        'format',
        'took',
        'file, MB',
        'installed, MB',
        'load, s',
        *(f'{count} thread{"s" if count > 1 else ""}: p50 / p95, ms' for count in threads),
        'images/s',
        'peak memory, MiB',
        'difference from PyTorch',
        *(METRICS[name] for name in metrics),
    ]
    lines = [
        f'{record["model"]}, {width} x {height} px, {machine_name(record)}, {record["date"]}'
        + (f'; {record["note"]}' if record.get('note') else ''),
        '',
        f'| {" | ".join(columns)} |',
        '| --- ' * len(columns) + '|',
    ]
    for row in rows:
        measured = {each['threads']: each for each in row['measured']}
        any_of_them = measured[threads[-1]]
        cells = [
            f'**{row["label"]}** ★' if row['label'] == best else row['label'],
            f'{any_of_them["device"]}, {any_of_them["precision"]}',
            f'{row["bytes"] / 1e6:.1f}' if 'bytes' in row else '-',
            f'{row["install"] / 1e6:.0f}',
            f'{any_of_them["load"]:.2f}',
            *(
                f'{measured[count]["p50"] * 1000:.0f} / {measured[count]["p95"] * 1000:.0f}'
                for count in threads
            ),
            f'{1 / _fastest(row):.1f}',
            f'{max(each["peak_memory"] for each in row["measured"]) / 2**20:.0f}',
            _difference(row),
            *(_metric(row, name) for name in metrics),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    failed = [row for row in record['formats'] if row.get('error')]
    if failed:
        lines += ['', *(f'- {row["label"]}: {row["error"]}' for row in failed)]
    return '\n'.join(lines)


def _fastest(row: dict[str, Any]) -> float:
    return min(each['p50'] for each in row['measured'])


def _metric(row: dict[str, Any], name: str) -> str:
    return f'{row["metrics"][name]:.3f}' if name in row.get('metrics', {}) else '-'


def _difference(row: dict[str, Any]) -> str:
    found = row.get('difference')
    if not found:
        return '-'
    parts = []
    for key, unit in (('boxes', ' px'), ('scores', ''), ('masks', ''), ('values', '')):
        largest = max(each[key] for each in found)
        if largest:
            parts.append(f'{key if key != "values" else "logits"} {largest:.0e}{unit}')
    return ', '.join(parts) or '0'
