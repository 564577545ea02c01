"""Plots a comparison, as PNG."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from casvit_mm.report.comparison.tables import works
from casvit_mm.report.comparison.times import standings_of
from casvit_mm.report.comparison.trained_plots import trained_plots
from casvit_mm.report.figures import COLOURS, MARKERS, plain_ticks, png, without_frame
from casvit_mm.report.speed.plots import accuracy_plot

COLUMNS = 6


def comparison_plots(record: dict[str, Any]) -> dict[str, bytes]:
    """Draws the plots that a record has data for.

    Args:
        record: A record of ``casvit compare``.

    Returns:
        PNG files by name: ``accuracy``, published box AP against measured latency; ``area``, time
        against the area of the image; ``receptive_fields``; and those of
        :func:`casvit_mm.report.comparison.trained_plots.trained_plots`.
    """
    plots: dict[str, bytes | None] = dict(trained_plots(record))
    if record['models']:
        plots |= _measured(record)
    return {name: plot for name, plot in plots.items() if plot is not None}


def _measured(record: dict[str, Any]) -> dict[str, bytes | None]:
    return {
        'accuracy': accuracy_plot(standings_of(record)),
        'area': _area(record),
        'receptive_fields': _receptive_fields(record),
    }


def _area(record: dict[str, Any]) -> bytes | None:
    """Time over area: token mixers alone on the left, whole backbones on the right."""
    entries = list(record['models'].values())
    ours = [each for each in entries if each['kind'] == 'mixer']
    styles = {
        each['label']: dict(
            color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)]
        )
        for index, each in enumerate(ours)
    }
    figure = Figure(figsize=(12, 5), layout='constrained')
    left, right = figure.subplots(1, 2)
    for axes, part, title in (
        (left, 'mixer', 'token mixer of the first stage alone'),
        (right, 'model', 'whole backbone'),
    ):
        drawn = [each for each in ours if part in each['growth'] and works(each['growth'][part])]
        for each in drawn:
            _series(axes, each['growth'][part]['seconds'], each['label'], **styles[each['label']])
        axes.set_title(title, fontsize=11)
    others = [
        each for each in entries if each['kind'] != 'mixer' and works(each['growth']['model'])
    ]
    exponents = [each['growth']['model']['seconds']['exponent'] for each in others]
    for index, each in enumerate(others):
        least, most = min(exponents), max(exponents)
        span = f'{least:.2f}' if len(others) == 1 else f'{least:.2f} to {most:.2f}'
        pixels, ms = _points(each['growth']['model']['seconds'])
        label = f'{span}  other backbones' if index == 0 else None
        right.plot(pixels, ms, color='0.75', linewidth=1, zorder=1, label=label)
    if not left.lines and not right.lines:
        return None
    for axes in (left, right):
        axes.set_xscale('log')
        axes.set_yscale('log')
        plain_ticks(axes)
        without_frame(axes)
        axes.set_xlabel('megapixels of the image (log scale)')
        axes.set_ylabel('measured time in ms, eager (log scale)')
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False, fontsize=9, title='exponent of the fit', alignment='left')
    return png(figure)


def _series(axes: Axes, seconds: dict[str, Any], label: str, **style: Any) -> None:
    pixels, ms = _points(seconds)
    axes.plot(pixels, ms, markersize=5, label=f'{seconds["exponent"]:.2f}  {label}', **style)


def _points(seconds: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Megapixels and milliseconds."""
    points = seconds['points']
    return [pixels / 1e6 for pixels, _ in points], [1000 * time for _, time in points]


def _receptive_fields(record: dict[str, Any]) -> bytes:
    entries: Sequence[dict[str, Any]] = list(record['models'].values())
    columns = min(COLUMNS, len(entries))
    rows = -(-len(entries) // columns)
    figure = Figure(figsize=(1.9 * columns + 0.9, 2.25 * rows + 0.3), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(entries) :]:
        axes.set_axis_off()
    used = panels.flat[: len(entries)]
    for axes, each in zip(used, entries, strict=True):
        field = each['receptive_field']
        side, half = field['side'], field['sides']['50%']
        shown = axes.imshow(
            np.array(field['map']),
            cmap='magma',
            vmin=-4,
            vmax=0,
            extent=(0, side, side, 0),
            interpolation='nearest',
        )
        row, column = field['centre']
        corner = (column + 0.5 - half / 2, row + 0.5 - half / 2)
        axes.add_patch(Rectangle(corner, half, half, fill=False, edgecolor='white', linewidth=1.2))
        axes.set_title(f'{each["label"]}\n50%: {half} px', fontsize=8)
        axes.set_xlim(0, side)
        axes.set_ylim(side, 0)
        axes.set_xticks([])
        axes.set_yticks([])
    bar = figure.colorbar(shown, ax=panels, fraction=0.02, pad=0.02, shrink=0.8, ticks=range(-4, 1))
    bar.ax.set_yticklabels(['≤ 0.0001', '0.001', '0.01', '0.1', '1'], fontsize=8)
    bar.set_label('energy, relative to the strongest cell', fontsize=8)
    return png(figure)
