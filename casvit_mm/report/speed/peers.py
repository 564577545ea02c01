"""Compares backbones: their published accuracy against the latency measured here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Standing:
    """A backbone in its fastest variant.

    Attributes:
        label: Its name.
        ours: Whether it is a CAS-ViT.
        variant: The fastest of the measured variants.
        seconds: Its latency: the median of the yardstick, divided by the speed-up over it in
            neighbouring turns.
        seconds_eager: The same for the reference variant; None if it was not measured.
        box_ap: Published box AP; None if there is none.
        source: Source of the box AP.
    """

    label: str
    ours: bool
    variant: str
    seconds: float
    seconds_eager: float | None
    box_ap: float | None
    source: str


def standings(records: Sequence[dict[str, Any]]) -> list[Standing]:
    """All backbones that were compared with a yardstick, the fastest first."""
    found: dict[str, Standing] = {}
    groups = [
        group
        for record in records
        for group in record.get('groups', ())
        if group['yardstick'] is not None
    ]
    if not groups:
        return []
    times = sorted(group['cases'][group['yardstick']]['seconds']['median'] for group in groups)
    yardstick = times[len(times) // 2]
    for group in groups:
        cases = [case for case in group['cases'] if case['label'] == group['title']]
        best = max(cases, key=lambda case: case['ratio']['median'])
        eager = next((case for case in cases if case['name'] == 'reference'), None)
        found[best['label']] = Standing(
            best['label'],
            best['kind'] == 'backbone',
            best['name'],
            yardstick / best['ratio']['median'],
            yardstick / eager['ratio']['median'] if eager else None,
            best['published']['box_ap'],
            best['published']['source'],
        )
    return sorted(found.values(), key=lambda each: each.seconds)


def front(all_standings: Sequence[Standing]) -> list[Standing]:
    """The Pareto front: backbones that no other beats in speed and accuracy, the fastest first."""
    best, found = float('-inf'), []
    for each in sorted(all_standings, key=lambda each: (each.seconds, -(each.box_ap or 0))):
        if each.box_ap is not None and each.box_ap > best:
            found.append(each)
            best = each.box_ap
    return found


def standings_table(all_standings: Sequence[Standing]) -> str:
    """Markdown table of all backbones, the fastest first."""
    on_front = front(all_standings)
    lines = [
        '| backbone | ms, fastest variant | variant | ms, eager NCHW | box AP (published) | '
        'on the Pareto front | source of the AP |',
        '| --- | --- | --- | --- | --- | --- | --- |',
    ]
    for each in all_standings:
        eager = f'{1000 * each.seconds_eager:.0f}' if each.seconds_eager else '-'
        stands = 'yes' if each in on_front else 'no'
        lines.append(
            f'| {each.label} | {1000 * each.seconds:.0f} | {each.variant} | {eager} | '
            f'{each.box_ap or "none found"} | {stands if each.box_ap else "-"} | '
            f'{each.source or "-"} |'
        )
    return '\n'.join(lines)
