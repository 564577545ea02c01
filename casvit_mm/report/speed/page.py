"""The page on speed, from the records of benchmarks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from casvit_mm.report.speed.limits import (
    LIMITS,
    OPERATORS,
    convolutions,
    fastest,
    limits_table,
    operators_table,
)
from casvit_mm.report.speed.peers import front, standings, standings_table
from casvit_mm.report.speed.table import (
    by_machine,
    convergence_table,
    pipeline_table,
    speed_table,
)

INTRODUCTION = """\
# Speed

How fast the backbones and whole models are, measured: every case in a process of its own, the
processes taking turns, so that a ratio is one of neighbouring turns. Given are medians, and
quartiles over the turns in brackets. The *reference* is the published forward pass, operation for
operation, eager, in float32 and NCHW. *Eager* is this package's, channels last; *folded* (training)
has frozen norms taken up by the convolutions beside them; *fused* (inference) is what `fuse` makes
of it; *compiled* is the last of these by `torch.compile`. In float32 all compute the same, to 1e-5
of the largest value. All but the reference have the process keep freed memory, as `--fuse` and
`--compile` do. Whole models have random weights and answer with as many objects as they may; their
threshold drops all other candidates, as it does in a trained model.

This page is written from the records by

```bash
{command}
```
"""

PEERS = """\
### Beside other backbones

Box AP is published (COCO, Mask R-CNN with FPN, 12 epochs; its source stands beside it), latency is
measured here, of the backbone alone, each in the fastest variant that was measured. On the front is
what no other is both faster than and at least as accurate as; CAS-ViT S, M and T are meant to be. A
latency is that of the common yardstick over all turns, by how many times as fast the backbone was
in neighbouring turns.
Those of others are compiled for this one size of images, which is faster, CAS-ViT for all sizes.
EfficientFormer, and EfficientFormerV2 as timm has it, take images of one size and are left out.
"""

CONVERGENCE = """\
## What the switches of training do to the result

Mask R-CNN on the generated images from random weights: the demo, with several seeds. Aimed at are
means that are at most 0.02 apart.
"""

PIPELINES = """\
### What the data take

Of the images that a training reads: medians and quartiles of one after the other in one process,
and means of the transforms. So many images per second a worker of the data loader prepares; a
training waits for its data only where all workers together prepare fewer than it takes.
"""

TARGETS_TEXT = """\
### Against what was aimed at
"""

MISSED = """\
What was missed, how much more the limit further below allows at all, and what takes the time:
convolutions, whose limit is the rate of matrix products that stands above each table, or what lies
between them. Compiled code that calls its convolutions from C++ hides them from the profiler: then
they are those of the fused variant.
"""

NO_GPU = """\
On a GPU nothing was measured yet. Aimed at there, in training of Mask R-CNN M with the same batch:
2.5 times as many images per second as the reference in float32, in at most 0.6 of its memory.
There are no kernels of this package's own for GPUs; such would be aimed at 70% of the rate of a
copy, and the whole backbone with them at 3 times the reference in bf16, 32 images of 512x512 at
once.
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
"""On a CPU, at 512x512, one image at a time; ``best`` is the fastest variant of any precision."""


def speed_page(
    records: Sequence[dict[str, Any]],
    command: str,
    plots: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """The page.

    Args:
        records: What ``casvit bench`` measured.
        command: What writes the page, to stand in it.
        plots: By machine, addresses of the images of
            :func:`casvit_mm.report.speed.plots.speed_plots`, as seen from the page, by their names.

    Returns:
        Markdown.
    """
    machines = by_machine(records)
    parts = [INTRODUCTION.format(command=command)]
    if not any(record['machine'].get('gpu') for each in machines.values() for record in each):
        parts.append(NO_GPU)
    for machine, of_it in machines.items():
        parts += [f'## {machine}\n', *_of_machine(of_it, (plots or {}).get(machine, {}))]
    for record in records:
        if record.get('runs'):
            parts += [CONVERGENCE, convergence_table(record) + '\n']
    return '\n'.join(parts)


def _of_machine(records: Sequence[dict[str, Any]], plots: Mapping[str, str]) -> Iterator[str]:
    """Everything that was measured on one machine."""
    measured = [record for record in records if record.get('groups')]
    if any(_comparable(measured)):
        yield from (TARGETS_TEXT, targets_table(measured) + '\n', *missed(measured))
    for record in measured:
        yield f'### {_title(record)}\n\n{speed_table(record)}\n'
    if 'area' in plots:
        yield f'![latency against the number of pixels]({plots["area"]})\n'
    if any('roofline' in best for _, best in fastest(measured)):
        yield from (LIMITS, limits_table(measured) + '\n')
    if any(fastest(measured)):
        yield from (OPERATORS, operators_table(measured) + '\n')
    if standing := standings(measured):
        names = ', '.join(each.label for each in front(standing))
        yield from (PEERS, standings_table(standing) + '\n')
        yield f'On the front, the fastest first: {names}.\n'
    if 'accuracy' in plots:
        yield f'![published box AP against measured latency]({plots["accuracy"]})\n'
    for record in records:
        if record.get('pipelines'):
            yield from (PIPELINES, pipeline_table(record) + '\n')


def _title(record: dict[str, Any]) -> str:
    cases = [case for group in record['groups'] for case in group['cases']]
    modes = ' and '.join(sorted({case['mode'] for case in cases}))
    kinds = {case['kind'] for case in cases}
    if 'config' in kinds:
        return f'Measured: {modes} of whole models'
    if 'peer' in kinds:
        return f'Measured: {modes} beside other backbones'
    return f'Measured: {modes} of the backbones'


def targets_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: what was aimed at, and what each size reached."""
    sizes = _sizes(records)
    names = [size.upper() for size in sizes]
    lines = [
        f'| times as fast as the reference | aim | {" | ".join(names)} |',
        f'| --- | --- | {" | ".join("---" for _ in names)} |',
    ]
    for target in TARGETS:
        reached = [_reached(records, size, target) for size in sizes]
        lines.append(f'| {target.name} | {target.ratio} | {" | ".join(reached)} |')
    return '\n'.join(lines)


def missed(records: Sequence[dict[str, Any]]) -> list[str]:
    """A paragraph on why aims were missed, if any were."""
    lines = []
    for target in TARGETS:
        for size in _sizes(records):
            best = _best(records, size, target)
            if best is None or _median_ratio(best) >= target.ratio:
                continue
            seconds, least = best['seconds']['median'], best.get('roofline')
            allowed = (
                f', where the limit allows {_median_ratio(best) * seconds / least["seconds"]:.1f}'
                if least
                else ''
            )
            lines.append(
                f'- {target.name}, {best["label"]}: {_median_ratio(best):.2f} of {target.ratio} '
                f'times{allowed}. {_convolutions_sentence(records, best)}'
            )
    return [MISSED, '\n'.join(lines) + '\n', *_slow_bf16(records)] if lines else []


def _convolutions_sentence(records: Sequence[dict[str, Any]], case: dict[str, Any]) -> str:
    """What the convolutions take of a case, or of its fused sibling where a profile hides them."""
    before = ''
    if not convolutions(case).share:
        before = f'It takes {1000 * case["seconds"]["median"]:.0f} ms. '
        told = Target(case['mode'], 'fused', case['precision'], 0)
        case = _best(records, case['model'], told) or case
    taken, seconds = convolutions(case), case['seconds']['median']
    rate = f', at {taken.rate / 1e9:.0f} GFLOP/s' if taken.rate else ''
    return (
        f'{before}Of the {1000 * seconds:.0f} ms ({case["name"]}) convolutions take '
        f'{1000 * taken.share * seconds:.0f} ms{rate}.'
    )


def _slow_bf16(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A sentence where the machine is no faster in bf16."""
    for record in records:
        rates = record['limits']['gemm_flops_per_second']
        if rates.get('bf16', rates['fp32']) < rates['fp32']:
            yield (
                f'In bf16 this machine multiplies matrices {rates["bf16"] / rates["fp32"]:.2f} '
                "times as fast as in float32: `precision='auto'` trains in float32 on it.\n"
            )
            return


def _reached(records: Sequence[dict[str, Any]], size: str, target: Target) -> str:
    """The ratio of one size, and whether it is what was aimed at."""
    best = _best(records, size, target)
    if best is None:
        return 'not measured'
    ratio = _median_ratio(best)
    return f'{ratio:.2f} ({"reached" if ratio >= target.ratio else "missed"})'


def _sizes(records: Sequence[dict[str, Any]]) -> list[str]:
    """The sizes that were compared with their reference, from small to large."""
    known = {case['model'] for case in _comparable(records)}
    return [size for size in ('xs', 's', 'm', 't', 'l') if size in known]


def _median_ratio(case: dict[str, Any]) -> float:
    return case['ratio']['median']


def _best(records: Sequence[dict[str, Any]], size: str, target: Target) -> dict[str, Any] | None:
    """The fastest case of a size that an aim is about, if one was measured."""
    meant = [
        case
        for case in _comparable(records)
        if (case['model'], case['mode']) == (size, target.mode)
        and (
            case['variant'] != 'reference'
            if target.variant == 'best'
            else (case['variant'], case['precision']) == (target.variant, target.precision)
        )
    ]
    return max(meant, key=_median_ratio, default=None)


def _comparable(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Cases of backbones that were compared with their reference on the images of the aims."""
    for record in records:
        for group in record['groups']:
            for case in group['cases']:
                if (
                    group['yardstick'] is None
                    and case['kind'] == 'backbone'
                    and (case['image_size'], case['batch_size']) == (512, 1)
                    and 'ratio' in case
                ):
                    yield case
