"""Times of candidates that were measured one after the other, made comparable."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from casvit_mm.report.speed.peers import Standing


def cases_of(record: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases of a model with their time as if all models had been measured at once.

    Args:
        record: The record.
        entry: One of its models.

    Returns:
        The cases without the yardstick of other models; ``time`` is the median time of the
        yardstick in all groups, divided by the speed-up over it in neighbouring turns, in seconds.
    """
    common = median(_yardsticks(record))
    group = entry['speed']
    # The yardstick leads the group if it is not one of the model's own cases.
    alien = group['cases'][0]['mixer'] != group['cases'][-1]['mixer']
    own = group['cases'][1:] if alien else group['cases']
    return [{**case, 'time': common / case['ratio']['median']} for case in own]


def time_of(
    cases: list[dict[str, Any]], variant: str, batch: int, mode: str = 'inference'
) -> float | None:
    """The time of a case in seconds; None if it could not be measured."""
    wanted = (variant, batch, mode)
    return next(
        (
            case['time']
            for case in cases
            if (case['variant'], case['batch_size'], case['mode']) == wanted
        ),
        None,
    )


def standings_of(record: dict[str, Any]) -> list[Standing]:
    """All models with their fastest variant on single images, the fastest first.

    Args:
        record: The record.
    """
    found = []
    for entry in record['models'].values():
        cases = cases_of(record, entry)
        single = [case for case in cases if (case['mode'], case['batch_size']) == ('inference', 1)]
        if single:
            best = min(single, key=lambda case: case['time'])
            found.append(
                Standing(
                    entry['label'],
                    entry['kind'] != 'peer',
                    best['variant'],
                    best['time'],
                    time_of(cases, 'eager', 1),
                    entry['published']['box_ap'],
                    entry['published']['source'],
                )
            )
    return sorted(found, key=lambda each: each.seconds)


def _yardsticks(record: dict[str, Any]) -> Iterator[float]:
    for entry in record['models'].values():
        group = entry['speed']
        yield group['cases'][group['yardstick']]['seconds']['median']
