"""Plots benchmark records, as PNG."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from casvit_mm.report.figures import OTHERS, OURS, figure_of, name_points, plain_ticks, png
from casvit_mm.report.speed.peers import Standing, front, standings


def speed_plots(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Draws the plots that the records have data for.

    Args:
        records: Records of ``casvit bench``.

    Returns:
        PNG files by name: ``accuracy``, published box AP against measured latency; ``area``,
        latency against the number of pixels.
    """
    plots = {'accuracy': accuracy_plot(standings(records)), 'area': _area(records)}
    return {name: plot for name, plot in plots.items() if plot is not None}


def accuracy_plot(backbones: Sequence[Standing]) -> bytes | None:
    """Draws the published box AP of backbones against their measured latency.

    Args:
        backbones: The backbones; those without a published box AP are left out.

    Returns:
        A PNG file; None if no backbone is left.
    """
    known = [each for each in backbones if each.box_ap is not None]
    if not known:
        return None
    figure, axes = figure_of(8.5, 5.5)
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
    plain_ticks(axes)
    axes.set_xlabel('measured latency of the backbone in ms, fastest variant (log scale)')
    axes.set_ylabel('published box AP on COCO (Mask R-CNN 1x)')
    axes.legend(frameon=False, loc='lower right')
    points = [(1000 * each.seconds, float(each.box_ap or 0)) for each in known]
    name_points(
        figure,
        axes,
        points,
        [each.label for each in known],
        ours=[each.ours for each in known],
        # There is room above the Pareto front.
        above=[each in line for each in known],
    )
    return png(figure)


def _points(backbones: Iterable[Standing]) -> np.ndarray:
    """Latency in ms and box AP of backbones that have one. Shape: ``(2, N)``."""
    points = [(1000 * each.seconds, each.box_ap) for each in backbones]
    return np.array(points, float).reshape(-1, 2).T


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
    figure, axes = figure_of(8, 5)
    for each in series:
        label = f'{each["label"]} {each["name"]}, exponent {each["exponent"]:.2f}'
        pixels, seconds = zip(*each['points'], strict=True)
        megapixels = [count / 1e6 for count in pixels]
        axes.plot(megapixels, [1000 * value for value in seconds], marker='o', label=label)
    axes.set_xscale('log')
    axes.set_yscale('log')
    plain_ticks(axes)
    axes.set_xlabel('megapixels of the image (log scale)')
    axes.set_ylabel('measured latency in ms (log scale)')
    axes.grid(alpha=0.3, which='both')
    axes.legend(frameon=False)
    return png(figure)
