"""How far measured times are from what a machine allows, and where they go."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LIMITS = """\
### How far that is from the limit

A convolution cannot take less time than its operations at the rate of a large matrix product, nor
less than its bytes (input and output once) at the rate of a large copy; both rates are measured
beside the cases. The sum over all convolutions of the fused backbone is the least that a forward
pass takes, three times that the least of a training step, and the share is that by what the fastest
variant in this precision took. By that limit no variant could be more than so many times as fast as
the reference, on this machine and as long as it reads from memory and not from a cache.
"""

OPERATORS = """\
### Where the time goes

Shares of operators in the time of the fastest variants, by torch's profiler; named is what takes a
twentieth or more. Compiled code that calls its convolutions from C++ hides them from the profiler:
then it is the fastest of the other variants.
"""
LEAST_SHARE = 0.05
CONVOLUTION = 'conv'


@dataclass(frozen=True)
class Convolutions:
    """All convolutions of a case.

    Attributes:
        share: In its time.
        rate: Multiplications and additions per second, of those that the fused backbone has; None
            where they were not counted.
    """

    share: float
    rate: float | None


def convolutions(case: dict[str, Any]) -> Convolutions:
    """What the convolutions of a backbone take.

    Args:
        case: Of a record.
    """
    share = sum(part for name, part in case['operators'].items() if CONVOLUTION in name)
    rate = None
    if share and 'roofline' in case:
        rate = case['roofline']['flops'] / (share * case['seconds']['median'])
    return Convolutions(share, rate)


def limits_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each size, input, mode and precision, the share of the limit that is reached.

    Args:
        records: What ``casvit bench`` measured.
    """
    lines = [
        '| model | input | mode | precision | GFLOP | MB | least ms | fastest | its share '
        '| at most |',
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
    """Markdown: for each model, input, mode and precision, what its fastest variant does.

    Of those in which the profiler saw convolutions.

    Args:
        records: What ``casvit bench`` measured.
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
    """For every reference and precision, the reference and the fastest case compared with it.

    Args:
        records: What ``casvit bench`` measured.
        among: Which cases count.
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
