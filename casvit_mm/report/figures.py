"""What plots of benchmarks share: colours, axes, names next to points, PNG."""

from collections.abc import Sequence
from io import BytesIO

import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

OURS, OTHERS = '#c2410c', '#2563a8'
# Of series, distinct without colour vision, too; the first is for CAS-ViT itself.
COLOURS = (OURS, '#2563a8', '#0d9488', '#9333ea', '#ca8a04', '#475569', '#be185d', '#15803d')
MARKERS = 'osD^vPX*'
DPI = 130
# Offsets of a name from its point, in points, and the alignment of its text.
PLACES = (((-5, 5), 'right'), ((6, 4), 'left'), ((-5, -10), 'right'), ((6, -10), 'left'))


def figure_of(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with axes in it.

    Args:
        width: In inches.
        height: In inches.
    """
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.add_subplot()
    without_frame(axes)
    return figure, axes


def without_frame(axes: Axes) -> None:
    """Leaves the axes only their left and lower edges."""
    axes.spines[['top', 'right']].set_visible(False)


def plain_ticks(axes: Axes) -> None:
    """Uses plain numbers, not powers of ten, on logarithmic axes."""
    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == 'log':
            axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter('{x:g}'))
            axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def name_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    *,
    ours: Sequence[bool],
    above: Sequence[bool],
) -> None:
    """Places names next to their points, such that they cover neither each other nor a point.

    Args:
        figure: The figure.
        axes: Its axes, with the points drawn.
        points: The points, in data coordinates.
        names: Their names.
        ours: Whether each is a CAS-ViT.
        above: Whether the name of each is rather above its point than below it.
    """
    figure.draw_without_rendering()
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(points)]
    for point, name, own, upper in zip(points, names, ours, above, strict=True):
        places = PLACES if upper else PLACES[::-1]
        for offset, side in places:
            text = axes.annotate(
                name,
                point,
                xytext=offset,
                textcoords='offset points',
                ha=side,
                fontsize=8,
                color=OURS if own else '0.25',
            )
            box = text.get_window_extent()
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1
            if (inside and not box.count_overlaps(taken)) or (offset, side) == places[-1]:
                taken.append(box)
                break
            text.remove()


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    content = BytesIO()
    figure.savefig(content, format='png', dpi=DPI)
    return content.getvalue()
