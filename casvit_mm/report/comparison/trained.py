"""Formats what candidates reached in short trainings."""

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from casvit.sentences import count_of
from casvit_mm.report.comparison.tables import table_of
from casvit_mm.report.speed.table import machine_name

SECTION = """\
## Trained for minutes, on {machine}

```bash
{command}
```

Each backbone was trained from random weights on a generated dataset, in the place of the backbone
of a demo: a RetinaNet for detection, a Semantic FPN for segmentation. Head, recipe, number of steps
and order of the images are the same; each backbone has its own initialisation.

{runs}

### What can be concluded

- Which backbones learn this task quickly from random weights, with this recipe. A difference
  between two means is worth a look if it is clearly larger than both ranges.
- How much a backbone that was trained at one size loses at others, compared with the others.

### What cannot be concluded

- Which backbone is best on real images, after pretraining, or after a long training. The dataset is
  small and generated, and a backbone that learns slowly at first may win in the end.
- Anything from a difference that is no larger than the ranges. They are of {seeds_count}: the next
  one can be outside of them.
- Anything from a task in which all values are about the same and low, such as the mIoU of
  predicting the background everywhere: then the training was too short (`--steps`).
- That a backbone is at its best. The rates are few and far apart, each was tried with one seed, the
  recipe was made for CAS-ViT, and weight decay and warm-up were not searched.
- Which backbone learns most in a given time: all have the same number of steps, and a step takes
  longer with one than with another.
"""


TABLES = (
    'The tables have the mean of these runs, half the range of their values, and the means for '
    'test images of other sizes, for which nothing was trained.'
)


def trained_tasks(record: dict[str, Any]) -> list[str]:
    """The tasks for which a record has a trained candidate.

    Args:
        record: A record of ``casvit compare``.
    """
    summary = (record.get('trained') or {}).get('summary') or {}
    return [task for task, found in summary.get('scores', {}).items() if found]


def trained_tables(record: dict[str, Any]) -> list[str]:
    """A table for each task, in the order of :func:`trained_tasks`.

    Args:
        record: A record of ``casvit compare``.
    """
    return [_table(record['trained']['summary'], task) for task in trained_tasks(record)]


def _table(summary: dict[str, Any], task: str) -> str:
    found, title = summary['scores'][task], summary['metrics'][task]
    others = [side for side, _ in found[0]['sides'] if side != summary['side'][task]]
    titles = (
        f'backbone ({task})',
        'learning rate',
        f'{title}, mean ± half the range',
        'each seed',
        *(f'{title} at {side} px' for side in others),
        'ms a step' if summary['jobs'] == 1 else f'ms a step, {summary["jobs"]} side by side',
    )
    rows = []
    for each in found:
        values, sides = each['values'], dict(each['sides'])
        rows.append(
            [
                each['label'],
                f'{each["rate"]:g} x',
                f'{each["mean"]:.1f} ± {(max(values) - min(values)) / 2:.1f}',
                ', '.join(f'{value:.1f}' for value in values),
                *(f'{sides[side]:.1f}' for side in others),
                '-' if each['step_seconds'] is None else f'{1000 * each["step_seconds"]:.0f}',
            ]
        )
    return table_of(titles, rows)


def trained_section(
    record: dict[str, Any], plots: Mapping[str, str], command: str
) -> Iterator[str]:
    """The part of the page on trained candidates.

    Args:
        record: A record of ``casvit compare --train``.
        plots: Paths of the plots, relative to the page.
        command: The command that trained them.

    Yields:
        Markdown.
    """
    trained = record['trained']
    settings, summary = trained['settings'], trained['summary']
    yield SECTION.format(
        machine=machine_name(trained),
        command=command,
        runs=fill(f'{_search(settings, summary["search_share"])} {TABLES}', 100),
        seeds_count=count_of(len(settings['seeds']), 'seed'),
    )
    if line := _edges(record):
        yield fill(line, 100) + '\n'
    versions = trained['machine']['versions']
    yield f'torch {versions["torch"]}; {trained["date"]}.\n'
    for task, table in zip(trained_tasks(record), trained_tables(record), strict=True):
        yield f'### {task.capitalize()}, {count_of(settings["steps"][task], "step")}\n'
        side, batch = summary['side'][task], summary['batch_size'][task]
        yield f'A step has {batch} images of {side}x{side}.\n'
        yield table + '\n'
        if file := plots.get(f'trained_{task}'):
            yield f'![{summary["metrics"][task]} by the size of the test images]({file})\n'
    if summary['unfinished']:
        yield '### Not finished\n'
        yield '\n'.join(f'- {line}' for line in summary['unfinished']) + '\n'


def _search(settings: dict[str, Any], share: int) -> str:
    """How the learning rate was chosen, and the seeds."""
    rates = ', '.join(f'{each:g}' for each in settings['rates'])
    seeds = f'the seeds {", ".join(map(str, settings["seeds"]))}'
    if len(settings['rates']) == 1:
        return (
            f'The learning rate is {rates} times that of the demo, with a run for each of {seeds}.'
        )
    return (
        f'For each backbone, learning rates of {rates} times that of the demo were tried, in one '
        f'run each of 1/{share} of the steps; the best one was used in a run for each of {seeds}.'
    )


def _edges(record: dict[str, Any]) -> str:
    """Names the candidates with the smallest or largest of the learning rates as their best."""
    trained = record['trained']
    rates, scores = trained['settings']['rates'], trained['summary']['scores']
    if len(rates) == 1:
        return ''
    found = []
    for task in trained_tasks(record):
        for edge, rate in (('smallest', min(rates)), ('largest', max(rates))):
            names = [each['label'] for each in scores[task] if each['rate'] == rate]
            if names:
                found.append(f'the {edge} one for {", ".join(names)} ({task})')
    if not found:
        return ''
    return (
        f'The best learning rate was {"; ".join(found)}: a rate outside of those that were tried '
        'may be better.'
    )
