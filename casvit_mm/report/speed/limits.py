"""Compares measured times with the limits of the machine, and shows what takes the time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LIMITS = """\
### Distance to the limit

A convolution cannot take less time than its operations at the rate of a large matrix product, nor
less than its bytes (input and output once) at the rate of a large copy; both rates are measured
together with the cases. The sum over all convolutions of the fused backbone is the minimum time of
a forward pass; a training step takes at least three times as long. The share is this minimum
divided by the time of the fastest variant in the same precision. The last column is the largest
speed-up over the reference that is possible on this machine, as long as data comes from memory and
not from a cache.
"""

OPERATORS = """\
### Where the time goes

Shares of operators in the time of the fastest variants, according to torch's profiler; operators
below 5% are not listed. The profiler cannot see convolutions that compiled code calls from C++: in
this case the table shows the fastest of the other variants.
"""
LEAST_SHARE = 0.05
CONVOLUTION = 'conv'


@dataclass(frozen=True)
class Convolutions:
    """All convolutions of a case.

    Attributes:
        share: Their share of the time.
        rate: Their floating-point operations per second, counted on the fused backbone; None if
            not counted.
    """

    share: float
    rate: float | None


def convolutions(case: dict[str, Any]) -> Convolutions:
    """Sums up the convolutions of a case.

    Args:
        case: A case of a record.
    """
    share = sum(part for name, part in case['operators'].items() if CONVOLUTION in name)
    rate = None
    if share and 'roofline' in case:
        rate = case['roofline']['flops'] / (share * case['seconds']['median'])
    return Convolutions(share, rate)


def limits_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the share of the limit reached, for each size, input, mode and precision.

    Args:
        records: Records of ``casvit bench``.
    """
    lines = [
        '| model | input | mode | precision | GFLOP | MB | minimum ms | fastest variant | share '
        '| largest possible speed-up |',
        '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for slow, best in fastest(records):
        least = best.get('roofline')
        if least is None:
            continue
        share = least['seconds'] / best['seconds']['median']
        at_most = slow['seconds']['median'] / least['seconds']
        lines.append(
            f'| {_what(best)} | {best["precision"]} | {least["flops"] / 1e9:.1f} | '
            f'{least["bytes"] / 1e6:.0f} | {1000 * least["seconds"]:.0f} | {best["variant"]} | '
            f'{share:.0%} | {at_most:.1f} times |'
        )
    return '\n'.join(lines)


def operators_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the operators of the fastest variant, for each model, input and mode.

    Only variants count in which the profiler saw convolutions.

    Args:
        records: Records of ``casvit bench``.
    """
    lines = ['| model | input | mode | variant | ms | operators |', '| --- ' * 6 + '|']
    for _, best in fastest(records, lambda case: convolutions(case).share >= LEAST_SHARE):
        parts = [
            f'{name.removeprefix("aten::")} {share:.0%}'
            for name, share in best['operators'].items()
            if share >= LEAST_SHARE
        ]
        lines.append(
            f'| {_what(best)} | {best["name"]} | {1000 * best["seconds"]["median"]:.0f} | '
            f'{", ".join(parts)} |'
        )
    return '\n'.join(lines)


def fastest(
    records: Sequence[dict[str, Any]],
    among: Callable[[dict[str, Any]], bool] = lambda case: True,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields, for every reference and precision, the reference and the fastest case.

    Args:
        records: Records of ``casvit bench``.
        among: Whether a case counts.
    """
    for record in records:
        for group in record['groups']:
            if group['yardstick'] is not None:
                continue
            for place, slow in enumerate(group['cases']):
                if slow['name'] != 'reference':
                    continue
                compared = [case for case in group['cases'] if case['baseline'] == place]
                for precision in dict.fromkeys(case['precision'] for case in compared):
                    of_it = [case for case in compared if case['precision'] == precision]
                    counting = [case for case in of_it if case is not slow and among(case)]
                    if counting:
                        yield slow, min(counting, key=lambda case: case['seconds']['median'])


def _what(case: dict[str, Any]) -> str:
    side = case['image_size']
    return f'{case["label"]} | {case["batch_size"]}x{side}x{side} | {case["mode"]}'
