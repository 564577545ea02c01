"""The page on speed, from the records of benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from casvit_mm.report.speed_table import speed_table

INTRODUCTION = """\
# Speed

How fast the backbones are, measured: every case in a process of its own, the processes taking
turns, so that a ratio is one of neighbouring turns. Given are medians, and quartiles over the turns
in brackets. The *reference* is the published forward pass, operation for operation, eager, in
float32 and NCHW. *Eager* is this package's, channels last; *folded* (training) has frozen norms
taken up by the convolutions beside them; *fused* (inference) is what `fuse` makes of it; *compiled*
is the last of these by `torch.compile`. In float32 all compute the same, to 1e-5 of the largest
value.

This page is written from the records by

```bash
{command}
```
"""

LIMITS = """\
## How far that is from the limit

A convolution cannot take less time than its operations at the rate of a large matrix product, nor
less than its bytes (input and output once) at the rate of a large copy; both rates are measured
beside the cases. The sum over all convolutions of the fused backbone is the least that a forward
pass takes, and the share is that by what it took. By that limit no variant in float32 could be more
than so many times as fast as the reference, on this machine and as long as it reads from memory and
not from a cache.
"""

TARGETS_TEXT = """\
## Against what was aimed at
"""


@dataclass(frozen=True)
class Target:
    """A ratio to the reference that a variant is to reach in every size."""

    mode: str
    variant: str
    precision: str
    ratio: float

    @property
    def name(self) -> str:
        """What a table calls it."""
        variant = self.variant if self.precision == 'fp32' else f'{self.variant} {self.precision}'
        return f'{self.mode}, {variant}'


TARGETS = (
    Target('inference', 'fused', 'fp32', 1.6),
    Target('inference', 'compiled', 'fp32', 2.8),
    Target('inference', 'compiled', 'bf16', 4.5),
    Target('training', 'best', 'fp32', 2.0),
)
"""On a CPU, at 512x512, one picture at a time; ``best`` is the fastest variant of any precision."""


def speed_page(records: Sequence[dict[str, Any]], command: str) -> str:
    """The page.

    Args:
        records: What ``casvit bench`` measured.
        command: What writes the page, to stand in it.

    Returns:
        Markdown.
    """
    parts = [INTRODUCTION.format(command=command)]
    for record in records:
        modes = sorted({group['mode'] for group in record['groups']})
        parts.append(f'## Measured: {" and ".join(modes)}\n\n{speed_table(record)}\n')
    parts += [LIMITS, limits_table(records) + '\n', TARGETS_TEXT, targets_table(records) + '\n']
    return '\n'.join(parts)


def limits_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each forward pass in float32, the share of the roofline that is reached."""
    lines = [
        '| size | input | GFLOP | MB | least ms | fused | compiled | at most |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for record in records:
        for group in record['groups']:
            least = group.get('roofline')
            if least is None:
                continue
            shares = [
                f'{least["seconds"] / seconds:.0%}' if seconds else 'not measured'
                for seconds in (_seconds(group, name) for name in ('fused', 'compiled'))
            ]
            side, slow = group['image_size'], _seconds(group, 'reference')
            at_most = f'{slow / least["seconds"]:.1f} times' if slow else 'not measured'
            lines.append(
                f'| {group["size"].upper()} | {group["batch_size"]}x{side}x{side} | '
                f'{least["flops"] / 1e9:.1f} | {least["bytes"] / 1e6:.0f} | '
                f'{1000 * least["seconds"]:.0f} | '
                f'{shares[0]} | {shares[1]} | {at_most} |'
            )
    return '\n'.join(lines)


def targets_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: what was aimed at, and what each size reached."""
    sizes = list(dict.fromkeys(group['size'] for each in records for group in each['groups']))
    names = [size.upper() for size in sizes]
    lines = [
        f'| times as fast as the reference | aim | {" | ".join(names)} |',
        f'| --- | --- | {" | ".join("---" for _ in names)} |',
    ]
    for target in TARGETS:
        reached = [_reached(records, size, target) for size in sizes]
        lines.append(f'| {target.name} | {target.ratio} | {" | ".join(reached)} |')
    return '\n'.join(lines)


def _reached(records: Sequence[dict[str, Any]], size: str, target: Target) -> str:
    """The ratio of one size, and whether it is what was aimed at."""
    ratios = [
        case['ratio']['median']
        for record in records
        for group in record['groups']
        if (group['size'], group['mode']) == (size, target.mode)
        for case in group['cases']
        if _is_meant(case, target) and 'ratio' in case
    ]
    if not ratios:
        return 'not measured'
    return f'{max(ratios):.2f} ({"reached" if max(ratios) >= target.ratio else "missed"})'


def _is_meant(case: dict[str, Any], target: Target) -> bool:
    if target.variant == 'best':
        return case['variant'] != 'reference'
    return (case['variant'], case['precision']) == (target.variant, target.precision)


def _seconds(group: dict[str, Any], name: str) -> float | None:
    return next(
        (case['seconds']['median'] for case in group['cases'] if case['name'] == name), None
    )
