"""Writes the page on token mixers and other backbones, from records of ``casvit compare``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from casvit_mm.report.comparison.tables import (
    cost_table,
    failures,
    growth_table,
    published_table,
    speed_table,
    unpublished,
)
from casvit_mm.report.comparison.times import standings_of
from casvit_mm.report.comparison.trained import trained_section
from casvit_mm.report.speed.peers import front
from casvit_mm.report.speed.table import machine_name

INTRODUCTION = """\
# Token mixers and other backbones, compared

CAS-ViT {size} with each of its [token mixers](extend.md#a-token-mixer), and other sizes and
[other backbones](baselines.md) in its place. Only the mixer, or only the backbone, differs.
{weights}

This page is written by

```bash
{command}
```
"""

RANDOM = """\
Everything here was measured with random weights, except for the published accuracy, which is copied
from publications."""

TRAINED = """\
Cost and speed were measured with random weights, the *published accuracy* is copied from
publications, and some of the backbones were trained for minutes, at the end of the page."""

ONLY_TRAINED = 'They were trained for minutes, from random weights.'

COST = """\
## Cost and receptive field

For one image of {side}x{side}. A MAC is one multiplication and one addition. *Activations* are the
values that convolutions, linear layers and matrix products give; the scores of all pairs in
self-attention are counted, although PyTorch does not keep them.

The *receptive field* is the effective one: the side of the smallest square that holds 50% or 90% of
the gradients of the central feature of the last level, for random images
([Luo et al.](https://arxiv.org/abs/1701.04128)). Batch norms have the statistics of these images.
Residual branches that training would start near zero, as those of ResNet and ConvNeXt, have scale
1. Those of HorNet stay small all the same: they are products of several small factors. Training
changes receptive fields.
"""

PUBLISHED = """\
## Published accuracy

Copied from the publications that are named, and not measured here. *Box AP* is that of Mask R-CNN
with FPN on COCO, trained for 12 epochs; *mIoU* that of Semantic FPN on ADE20K, with images of
512x512. Recipes differ in details, such as the number of iterations on ADE20K. - stands for
a figure that we know of no publication of.{missing}
"""

MACHINE = """\
## {machine}

```bash
{command}
```

Milliseconds for one image of {side}x{side}, images per second in batches of {batch}, and a training
step: forward and backward with {training} images and frozen norm statistics, with the peak memory
of its {memory}. *Eager* is PyTorch in channels last, *static* is compiled with `torch.compile` for
images of this size (CAS-ViT is fused first, as `Predictor(…, fuse=True, compile='static')` does),
*exported* is an ONNX file of this size, run by ONNX Runtime. Each backbone took turns
with CAS-ViT {size}: through it, times that were measured one after the other are compared.
"""

GROWTH = """\
### How the cost grows with the area

A power law, fitted to images of {sides} pixels a side: exponent 1 is linear in the number of
pixels, 2 quadratic. The token mixer is that of the first stage, alone. MACs are counted by
operator, so the attention in a mixer shows next to its linear layers. Times are eager: the fastest
call of each turn, and the median of the turns. The fixed cost of a call makes their exponent
smaller. A mixer without MACs, or one that does nothing, has -.
"""

SAME = ('size', 'image_size')
"""Settings on which depends what does not depend on the machine."""


def comparison_page(
    records: Sequence[dict[str, Any]],
    plots: Sequence[Mapping[str, str]],
    measured: Sequence[str],
    command: str,
    trained: Sequence[str] = (),
) -> str:
    """Writes the page.

    Args:
        records: Records of ``casvit compare``, one for each machine. What does not depend on the
            machine is taken from the first one that has a model, if it has the settings of the
            first of all.
        plots: For each record, the paths of the plots of
            :func:`casvit_mm.report.comparison.plots.comparison_plots`, relative to the page.
        measured: For each record, the command that measured it.
        command: The command that writes the page.
        trained: For each record, the command that trained its candidates; empty if none did.

    Returns:
        Markdown.
    """
    size = records[0]['settings']['size'].upper()
    of_all = list(zip(records, plots, measured, strict=True))
    speeds = [each for each in of_all if each[0]['models']]
    weights = RANDOM if not any(trained) else TRAINED if speeds else ONLY_TRAINED
    parts = [INTRODUCTION.format(size=size, command=command, weights=weights)]
    if speeds:
        record, drawn, _ = speeds[0]
        parts.append(COST.format(side=record['settings']['image_size']))
        parts += _of_no_machine([record for record, *_ in speeds], drawn)
    for each in speeds:
        parts += _of_machine(*each)
    for (record, drawn, _), done in zip(of_all, trained, strict=False):
        if done:
            parts += trained_section(record, drawn, done)
    return '\n'.join(parts)


def _of_no_machine(records: Sequence[dict[str, Any]], plots: Mapping[str, str]) -> Iterator[str]:
    models: dict[str, dict[str, Any]] = {}
    for record in records:
        if all(record['settings'][key] == records[0]['settings'][key] for key in SAME):
            models |= {key: each for key, each in record['models'].items() if key not in models}
    yield cost_table(models) + '\n'
    if 'receptive_fields' in plots:
        yield f'![Effective receptive fields]({plots["receptive_fields"]})\n'
    none = ', '.join(unpublished(models))
    missing = f' There is none for {none}.' if none else ''
    yield PUBLISHED.format(missing=missing)
    yield published_table(models) + '\n'


def _of_machine(record: dict[str, Any], plots: Mapping[str, str], command: str) -> Iterator[str]:
    settings = record['settings']
    steps = (
        case['batch_size']
        for entry in record['models'].values()
        for case in entry['speed']['cases']
        if case['mode'] == 'training'
    )
    yield MACHINE.format(
        machine=machine_name(record),
        command=command,
        side=settings['image_size'],
        batch=settings['batch_size'],
        training=next(steps, 'no'),
        memory='GPU' if record['machine'].get('gpu') else 'process',
        size=settings['size'].upper(),
    )
    versions = record['machine']['versions']
    yield f'torch {versions["torch"]}; {record["date"]}.\n'
    yield speed_table(record) + '\n'
    standing = standings_of(record)
    if line := front(standing):
        names = ', '.join(each.label for each in line)
        known = sum(each.box_ap is not None for each in standing)
        yield (
            f'Of the {known} with a published box AP, no other one is both faster and at least as '
            f'accurate as these, fastest first: {names}.\n'
        )
    if 'accuracy' in plots:
        yield f'![Published box AP against measured latency]({plots["accuracy"]})\n'
    sides = ', '.join(map(str, settings['growth_sizes']))
    yield GROWTH.format(sides=sides)
    yield growth_table(record) + '\n'
    if 'area' in plots:
        yield f'![Time against the area of the image]({plots["area"]})\n'
    if lines := failures(record):
        yield '### Not measured\n'
        yield '\n'.join(f'- {line}' for line in lines) + '\n'
