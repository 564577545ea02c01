"""Plots benchmark records, as PNG."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from casvit_mm.report.speed.peers import Standing, front, standings

OURS, OTHERS = '#c2410c', '#2563a8'
DPI = 130
# Offsets of a name from its point, in points, and the alignment of its text.
PLACES = (((-5, 5), 'right'), ((6, 4), 'left'), ((-5, -10), 'right'), ((6, -10), 'left'))


def speed_plots(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Draws the plots that the records have data for.

    Args:
        records: Records of ``casvit bench``.

    Returns:
        PNG files by name: ``accuracy``, published box AP against measured latency; ``area``,
        latency against the number of pixels.
    """
    plots = {'accuracy': _accuracy(records), 'area': _area(records)}
    return {name: plot for name, plot in plots.items() if plot is not None}


def _accuracy(records: Sequence[dict[str, Any]]) -> bytes | None:
    known = [each for each in standings(records) if each.box_ap is not None]
    if not known:
        return None
    figure, axes = _figure(8.5, 5.5)
    line = front(known)
    ms, ap = _points(line)
    axes.step(
        ms,
        ap,
        where='post',
        color='0.75',
        linewidth=1.2,
        zorder=1,
        label='Pareto front',
    )
    for ours, colour, label in ((True, OURS, 'CAS-ViT'), (False, OTHERS, 'others')):
        ms, ap = _points(each for each in known if each.ours == ours)
        axes.scatter(ms, ap, color=colour, label=label, zorder=2)
    axes.set_xscale('log')
    _plain_ticks(axes)
    axes.set_xlabel('measured latency of the backbone in ms, fastest variant (log scale)')
    axes.set_ylabel('published box AP on COCO (Mask R-CNN 1x)')
    axes.legend(frameon=False, loc='lower right')
    _label(figure, axes, known, line)
    return _png(figure)


def _points(backbones: Iterable[Standing]) -> np.ndarray:
    """Latency in ms and box AP of backbones that have one. Shape: ``(2, N)``."""
    points = [(1000 * each.seconds, each.box_ap) for each in backbones]
    return np.array(points, float).reshape(-1, 2).T


def _label(figure: Figure, axes: Axes, known: Sequence[Standing], line: Sequence[Standing]) -> None:
    """Places names next to their points, such that they cover neither each other nor a point.

    Names of backbones on the Pareto front are above it if there is room, the others below it.
    """
    figure.draw_without_rendering()
    points = _points(known).T
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(points)]
    for each, point in zip(known, points, strict=True):
        places = PLACES if each in line else PLACES[::-1]
        for offset, side in places:
            text = axes.annotate(
                each.label,
                point,
                xytext=offset,
                textcoords='offset points',
                ha=side,
                fontsize=8,
                color=OURS if each.ours else '0.25',
            )
            box = text.get_window_extent()
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1
            if (inside and not box.count_overlaps(taken)) or (offset, side) == places[-1]:
                taken.append(box)
                break
            text.remove()


def _area(records: Sequence[dict[str, Any]]) -> bytes | None:
    series = [
        each
        for record in records
        for group in record.get('groups', ())
        for each in group['growth']
        if each['over'] == 'image_size'
    ]
    if not series:
        return None
    figure, axes = _figure(8, 5)
    for each in series:
        label = f'{each["label"]} {each["name"]}, exponent {each["exponent"]:.2f}'
        pixels, seconds = zip(*each['points'], strict=True)
        megapixels = [count / 1e6 for count in pixels]
        axes.plot(megapixels, [1000 * value for value in seconds], marker='o', label=label)
    axes.set_xscale('log')
    axes.set_yscale('log')
    _plain_ticks(axes)
    axes.set_xlabel('megapixels of the image (log scale)')
    axes.set_ylabel('measured latency in ms (log scale)')
    axes.grid(alpha=0.3, which='both')
    axes.legend(frameon=False)
    return _png(figure)


def _plain_ticks(axes: Axes) -> None:
    """Uses plain numbers, not powers of ten, on logarithmic axes."""
    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == 'log':
            axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter('{x:g}'))
            axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.add_subplot()
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format='png', dpi=DPI)
    return content.getvalue()
