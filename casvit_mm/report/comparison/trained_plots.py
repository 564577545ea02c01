"""Plots what candidates reached in short trainings, as PNG."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from casvit_mm.report.comparison.times import standings_of
from casvit_mm.report.comparison.trained import trained_tasks
from casvit_mm.report.figures import (
    COLOURS,
    MARKERS,
    OTHERS,
    OURS,
    name_points,
    plain_ticks,
    png,
    without_frame,
)


def trained_plots(record: dict[str, Any]) -> dict[str, bytes]:
    """Draws, for each task, the metric against the size of the test images, and against latency.

    Args:
        record: A record of ``casvit compare``.

    Returns:
        PNG files by name, ``trained_detection`` and ``trained_segmentation``, of tasks that it has.
    """
    measured = standings_of(record) if record['models'] else ()
    latency = {each.label: each.seconds for each in measured}
    return {f'trained_{task}': _plot(record, task, latency) for task in trained_tasks(record)}


def _plot(record: dict[str, Any], task: str, latency: dict[str, float]) -> bytes:
    trained = record['trained']
    summary = trained['summary']
    found = summary['scores'][task]
    measured = [each for each in found if each['label'] in latency]
    figure = Figure(figsize=(12 if measured else 7, 5), layout='constrained')
    panels = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
    for axes in panels:
        without_frame(axes)
        axes.grid(alpha=0.3)
        axes.set_ylabel(f'{summary["metrics"][task]}, mean of the seeds, in percent')
    order = [each['label'] for each in trained['models'].values()]
    _sides(panels[0], found, order, summary['side'][task])
    if measured:
        _latency(figure, panels[1], measured, latency)
    return png(figure)


def _sides(axes: Axes, found: list[dict[str, Any]], order: list[str], trained_at: int) -> None:
    for each in found:
        # A candidate looks the same in the plots of all tasks.
        index = order.index(each['label'])
        sides, values = zip(*each['sides'], strict=True)
        axes.plot(
            sides,
            values,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            # Beyond the last colour, they begin again.
            linestyle='-' if index < len(COLOURS) else '--',
            markersize=5,
            label=each['label'],
        )
    axes.axvline(trained_at, color='0.75', linewidth=1, zorder=1)
    axes.set_xticks([side for side, _ in found[0]['sides']])
    axes.set_xlabel(f'side of the test images in pixels; trained at {trained_at}')
    axes.set_ylim(bottom=0)
    axes.margins(y=0.1)
    axes.legend(frameon=False, fontsize=9)


def _latency(
    figure: Figure, axes: Axes, measured: list[dict[str, Any]], latency: dict[str, float]
) -> None:
    points = [(1000 * latency[each['label']], each['mean']) for each in measured]
    ours = [each['kind'] != 'peer' for each in measured]
    for (ms, mean), each, own in zip(points, measured, ours, strict=True):
        axes.errorbar(
            ms,
            mean,
            yerr=[[mean - min(each['values'])], [max(each['values']) - mean]],
            color=OURS if own else OTHERS,
            marker='o',
            markersize=5,
            linewidth=1,
        )
    axes.set_xscale('log')
    plain_ticks(axes)
    axes.set_xlabel('measured latency of the backbone in ms, fastest variant (log scale)')
    axes.set_title('bars: range of the seeds', fontsize=11)
    axes.margins(0.12)
    names = [each['label'] for each in measured]
    name_points(figure, axes, points, names, ours=ours, above=[True] * len(points))
