"""Metrics of a validation as a row of a table, and of a test as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {
    'coco/bbox_mAP': 'box AP',
    'coco/bbox_mAP_50': 'AP50',
    'coco/bbox_mAP_75': 'AP75',
    'coco/segm_mAP': 'mask AP',
    'coco/segm_mAP_50': 'AP50',
    'coco/segm_mAP_75': 'AP75',
    'mIoU': 'mIoU',
    'mAcc': 'mAcc',
    'aAcc': 'aAcc',
    'accuracy/top1': 'top-1',
    'accuracy/top5': 'top-5',
}
"""Names of metrics in tables, in their order; others have the name that they have in the log."""

OBJECTS = {'bbox': 'box', 'segm': 'mask'}
AREAS = {
    'mAP': 'AP',
    'mAP_50': 'AP50',
    'mAP_75': 'AP75',
    'mAP_s': 'small',
    'mAP_m': 'medium',
    'mAP_l': 'large',
}
MOST = 8


def columns(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The metrics of a validation that a row of a table has room for.

    Args:
        metrics: As evaluators return them, with their prefixes.

    Returns:
        Names and values; -1, which is how COCO marks what cannot be computed, becomes a dash.
    """
    known = [(NAMES[key], _number(metrics[key])) for key in NAMES if key in metrics]
    others = [
        (key.rpartition('/')[2], _number(value))
        for key, value in metrics.items()
        if _is_number(value) and not key.startswith('coco/')
    ]
    return known or others[:MOST]


def in_a_sentence(metrics: Mapping[str, Any]) -> str:
    """The main metrics: 'box AP 0.670, mask AP 0.622'."""
    at_thresholds = ('AP50', 'AP75')
    return ', '.join(
        f'{name} {value}' for name, value in columns(metrics) if name not in at_thresholds
    )


def table(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics of a test.

    Args:
        metrics: As evaluators return them, with their prefixes.

    Returns:
        Lines: for COCO a row for boxes and one for masks, otherwise a row.
    """
    rows = {
        row: [_number(metrics[f'coco/{kind}_{area}']) for area in AREAS]
        for kind, row in OBJECTS.items()
        if all(f'coco/{kind}_{area}' in metrics for area in AREAS)
    }
    if rows:
        return aligned([['', *AREAS.values()], *([row, *values] for row, values in rows.items())])
    found = columns(metrics)
    return aligned([[name for name, _ in found], [value for _, value in found]]) if found else []


def aligned(rows: Sequence[Sequence[str]], least: int = 6) -> list[str]:
    """Lines with the cells of rows below each other, the first to the left, others to the right.

    Args:
        rows: As many cells in each.
        least: Least width of a column, in characters.
    """
    widths = [max(least, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class Table:
    """A table that grows by a row at a time; its header appears with the first row.

    Every row has the columns of the header.
    """

    def __init__(self) -> None:
        self._header: list[str] = []

    def add(self, cells: Sequence[tuple[str, str]]) -> list[str]:
        """Adds a row.

        Args:
            cells: Names of the columns, and values.

        Returns:
            The lines to show: the row, below the header if it is new.
        """
        names = [name for name, _ in cells]
        lines = aligned([names, [value for _, value in cells]], least=7)
        if names == self._header:
            return lines[1:]
        self._header = names
        return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> str:
    if not _is_number(value):
        return str(value)
    if math.isnan(value) or value == -1:
        return '-'
    return f'{value:.3f}' if abs(value) <= 1 else f'{value:.2f}'
