"""Writes the page on speed, and the page with its tables, from the records of benchmarks."""

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

SUMMARY = """\
# Speed

How many times as fast as the published forward pass (*reference*) CAS-ViT is, with one image of
512x512 on a CPU. *Fused* is the model after `fuse`, *compiled* the same with `torch.compile`. In
float32, both compute the same result within 1e-5 of the largest value.

[All measurements]({tables}) has the tables: full models, other backbones, memory, training, the
limits of the machines, and the command that repeats it. `casvit bench` measures on your machine.
"""

FRONT = """\
Of the {count} backbones with a published box AP (COCO, Mask R-CNN), no other one is both faster
and at least as accurate as these, fastest first: {names}.
"""

INTRODUCTION = """\
# Speed: all measurements

The [summary]({summary}) has the most important numbers. Every case runs in its own process, and the
processes take turns, so that ratios are computed between neighbouring turns. The tables give
medians, with quartiles over the turns in brackets. The variants are:

- *reference*: the published forward pass, operation for operation, eager, in float32 and NCHW.
- *eager*: the forward pass of this package, in channels last.
- *folded* (training): as *eager*, with frozen norms folded into the adjacent convolutions.
- *fused* (inference): the model after `fuse`.
- *compiled*: the folded or fused model, compiled with `torch.compile` for images of any size.
- *static* (inference): the same, compiled for images of this size only.

In float32, all variants compute the same result, within 1e-5 of the largest value. All but the
reference keep freed memory, as `--fuse` and `--compile` do. Full models have random weights and
return the maximum number of detections; their score threshold drops all other candidates, as in a
trained model.

Both pages are generated from the benchmark records by

```bash
{command}
```
"""

PEERS = """\
### Comparison with other backbones

Box AP is the published value (COCO, Mask R-CNN with FPN, 12 epochs; see the last column for its
source). Latency is measured here, for the backbone only, with its fastest variant. A backbone is on
the Pareto front if no other one is both faster and at least as accurate; the target is to have
CAS-ViT S, M and T on it. Latency is computed as the median latency of a common yardstick, divided
by the speed-up of the backbone over it in neighbouring turns.

EfficientFormer, and EfficientFormerV2 in timm, take images of one size only and are left out.
"""

CONVERGENCE = """\
## Accuracy of faster training

Mask R-CNN, trained from random weights on the generated demo dataset with several seeds. The target
is that the means differ by at most 0.02.
"""

PIPELINES = """\
### Data loading

Time to prepare a training image in one process (median and quartiles) and mean time of each
transform, and the resulting number of images per second that one data loader worker prepares.
Training waits for data only if all workers together prepare fewer images than it consumes.
"""

TARGETS_TEXT = """\
### Compared with the targets
"""

MISSED = """\
For each missed target: the speed-up that the limit allows (see below), and the time spent in
convolutions, which are limited by the rate of matrix products given above each table; the rest is
spent between them. The profiler cannot see convolutions that compiled code calls from C++: in this
case the numbers are those of the fused variant.
"""

NO_GPU = """\
Nothing has been measured on a GPU yet. The target for training Mask R-CNN M with the same batch
size is 2.5 times as many images per second as the reference in float32, with at most 0.6 times its
memory. This package has no GPU kernels of its own. The target for such kernels would be 70% of the
rate of a copy, and for the full backbone with them 3 times the speed of the reference in bf16, with
32 images of 512x512 per batch.
"""


@dataclass(frozen=True)
class Target:
    """A speed-up over the reference that a variant is to reach in every size."""

    mode: str
    variant: str
    precision: str
    ratio: float

    @property
    def name(self) -> str:
        """Its name in tables."""
        variant = self.variant if self.precision == 'fp32' else f'{self.variant} {self.precision}'
        return f'{self.mode}, {variant}'


TARGETS = (
    Target('inference', 'fused', 'fp32', 1.6),
    Target('inference', 'compiled', 'fp32', 2.8),
    Target('inference', 'compiled', 'bf16', 4.5),
    Target('training', 'best', 'fp32', 2.0),
)
"""On a CPU, at 512x512 and batch size 1; ``best`` is the fastest variant of any precision."""


def speed_page(
    records: Sequence[dict[str, Any]],
    tables: str,
    plots: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Writes the summary: the targets and the plots of each machine.

    Args:
        records: Records of ``casvit bench``.
        tables: The page of :func:`tables_page`, relative to this one.
        plots: For each machine, the paths of the plots of
            :func:`casvit_mm.report.speed.plots.speed_plots`, relative to the page, by name.

    Returns:
        Markdown.
    """
    parts = [SUMMARY.format(tables=tables)]
    for machine, of_it in by_machine(records).items():
        measured = [record for record in of_it if record.get('groups')]
        of_machine = [*_summary(measured, (plots or {}).get(machine, {}))]
        if of_machine:
            parts += [f'## {machine}\n', *of_machine]
    return '\n'.join(parts)


def tables_page(records: Sequence[dict[str, Any]], command: str, summary: str) -> str:
    """Writes the page with everything that was measured.

    Args:
        records: Records of ``casvit bench``.
        command: The command that generates the pages, to be quoted.
        summary: The page of :func:`speed_page`, relative to this one.

    Returns:
        Markdown.
    """
    machines = by_machine(records)
    parts = [INTRODUCTION.format(command=command, summary=summary)]
    if not any(record['machine'].get('gpu') for each in machines.values() for record in each):
        parts.append(NO_GPU)
    for machine, of_it in machines.items():
        parts += [f'## {machine}\n', *_of_machine(of_it)]
    for record in records:
        if record.get('runs'):
            parts += [CONVERGENCE, convergence_table(record) + '\n']
    return '\n'.join(parts)


def _summary(measured: Sequence[dict[str, Any]], plots: Mapping[str, str]) -> Iterator[str]:
    """The most important numbers of one machine."""
    if any(_comparable(measured)):
        yield targets_table(measured) + '\n'
    if standing := standings(measured):
        names = ', '.join(each.label for each in front(standing))
        known = sum(each.box_ap is not None for each in standing)
        yield FRONT.format(count=known, names=names)
    if 'accuracy' in plots:
        yield f'![Published box AP against measured latency]({plots["accuracy"]})\n'
    if 'area' in plots:
        yield f'![Latency against the number of pixels]({plots["area"]})\n'


def _of_machine(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Everything that was measured on one machine."""
    measured = [record for record in records if record.get('groups')]
    if any(_comparable(measured)):
        yield from (TARGETS_TEXT, targets_table(measured) + '\n', *missed(measured))
    for record in measured:
        yield f'### {_title(record)}\n\n{speed_table(record)}\n'
    if any('roofline' in best for _, best in fastest(measured)):
        yield from (LIMITS, limits_table(measured) + '\n')
    if any(fastest(measured)):
        yield from (OPERATORS, operators_table(measured) + '\n')
    if standing := standings(measured):
        names = ', '.join(each.label for each in front(standing))
        yield from (PEERS, standings_table(standing) + '\n')
        yield f'On the Pareto front, fastest first: {names}.\n'
    for record in records:
        if record.get('pipelines'):
            yield from (PIPELINES, pipeline_table(record) + '\n')


def _title(record: dict[str, Any]) -> str:
    cases = [case for group in record['groups'] for case in group['cases']]
    modes = ' and '.join(sorted({case['mode'] for case in cases}))
    kinds = {case['kind'] for case in cases}
    if 'config' in kinds:
        return f'Results: {modes} of full models'
    if 'peer' in kinds:
        return f'Results: {modes} of CAS-ViT and other backbones'
    return f'Results: {modes} of the backbones'


def targets_table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the targets and the speed-up of each size."""
    sizes = _sizes(records)
    names = [size.upper() for size in sizes]
    lines = [
        f'| times as fast as the reference | target | {" | ".join(names)} |',
        f'| --- | --- | {" | ".join("---" for _ in names)} |',
    ]
    for target in TARGETS:
        reached = [_reached(records, size, target) for size in sizes]
        lines.append(f'| {target.name} | {target.ratio} | {" | ".join(reached)} |')
    return '\n'.join(lines)


def missed(records: Sequence[dict[str, Any]]) -> list[str]:
    """Paragraphs on why targets were missed, if any were."""
    lines = []
    for target in TARGETS:
        for size in _sizes(records):
            best = _best(records, size, target)
            if best is None or _median_ratio(best) >= target.ratio:
                continue
            seconds, least = best['seconds']['median'], best.get('roofline')
            allowed = (
                f', limit {_median_ratio(best) * seconds / least["seconds"]:.1f}' if least else ''
            )
            lines.append(
                f'- {target.name}, {best["label"]}: {_median_ratio(best):.2f} times (target '
                f'{target.ratio}{allowed}). {_convolutions_sentence(records, best)}'
            )
    return [MISSED, '\n'.join(lines) + '\n', *_slow_bf16(records)] if lines else []


def _convolutions_sentence(records: Sequence[dict[str, Any]], case: dict[str, Any]) -> str:
    """The time of the convolutions in a case, or in the fused variant if a profile hides them."""
    before = ''
    if not convolutions(case).share:
        before = f'It takes {1000 * case["seconds"]["median"]:.0f} ms. '
        told = Target(case['mode'], 'fused', case['precision'], 0)
        case = _best(records, case['model'], told) or case
    taken, seconds = convolutions(case), case['seconds']['median']
    rate = f', at {taken.rate / 1e9:.0f} GFLOP/s' if taken.rate else ''
    return (
        f'{before}Of the {1000 * seconds:.0f} ms ({case["name"]}), convolutions take '
        f'{1000 * taken.share * seconds:.0f} ms{rate}.'
    )


def _slow_bf16(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields a sentence if the machine is slower in bf16."""
    for record in records:
        rates = record['limits']['gemm_flops_per_second']
        if rates.get('bf16', rates['fp32']) < rates['fp32']:
            yield (
                f'In bf16, this machine multiplies matrices {rates["bf16"] / rates["fp32"]:.2f} '
                "times as fast as in float32, so `precision='auto'` trains in float32.\n"
            )
            return


def _reached(records: Sequence[dict[str, Any]], size: str, target: Target) -> str:
    """The speed-up of a size, and whether it reaches the target."""
    best = _best(records, size, target)
    if best is None:
        return 'not measured'
    ratio = _median_ratio(best)
    return f'{ratio:.2f} ({"reached" if ratio >= target.ratio else "missed"})'


def _sizes(records: Sequence[dict[str, Any]]) -> list[str]:
    """Sizes that were compared with their reference, from small to large."""
    known = {case['model'] for case in _comparable(records)}
    return [size for size in ('xs', 's', 'm', 't', 'l') if size in known]


def _median_ratio(case: dict[str, Any]) -> float:
    return case['ratio']['median']


def _best(records: Sequence[dict[str, Any]], size: str, target: Target) -> dict[str, Any] | None:
    """The fastest case of a size that a target applies to, if one was measured."""
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
    """Cases of backbones that were compared with their reference at the size of the targets."""
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
