"""Plots of the statistics of a dataset, as PNG."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from casvit.names import printable

COLOURS = {'train': '#2563a8', 'val': '#e08a1e', 'test': '#3c8d57', 'all': '#2563a8'}
MOST_CLASSES = 60
DPI = 110


@dataclass(frozen=True)
class DetectorScales:
    """The object sizes that a detector looks for.

    Attributes:
        name: Name of the config.
        scale: Maximum longer and shorter side of resized images in pixels.
        strides: Strides of its feature maps in pixels.
        anchors: Sides of its square anchors in pixels; empty if it has none.
    """

    name: str
    scale: tuple[int, int]
    strides: tuple[int, ...]
    anchors: tuple[float, ...] = ()


def class_histogram(counts: Mapping[str, Mapping[str, int]], what: str) -> bytes:
    """Bar chart of the frequency of each class in each split.

    Args:
        counts: Number by split and class.
        what: Name of what is counted: ``objects``.
    """
    total: dict[str, int] = {}
    for numbers in counts.values():
        for name, number in numbers.items():
            total[name] = total.get(name, 0) + number
    names = sorted(total, key=total.__getitem__, reverse=True)
    title = f'{what} by class'
    if len(names) > MOST_CLASSES:
        title += f' (the {MOST_CLASSES} most frequent of {len(names)})'
        names = names[:MOST_CLASSES]
    figure, axes = _figure(width=8, height=max(2.2, 0.24 * len(names) + 1))
    height = 0.8 / max(1, len(counts))
    for index, (split, numbers) in enumerate(counts.items()):
        places = np.arange(len(names)) + (index - (len(counts) - 1) / 2) * height
        values = [max(numbers.get(name, 0), 0) for name in names]
        axes.barh(places, values, height=height, color=_colour(split), label=split)
    # A dollar sign would start a formula in matplotlib.
    shown = [printable(name).replace('$', r'\$') for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(what)
    largest = max(total.values(), default=0)
    smallest = min((number for number in total.values() if number), default=0)
    if smallest and largest / smallest > 50:
        axes.set_xscale('log')
    axes.legend(frameon=False)
    return _png(figure, title)


def object_sizes(
    boxes: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    scales: DetectorScales | None,
) -> bytes:
    """Histogram of object sizes as the detector sees them, with its strides and anchors.

    Args:
        boxes: Widths and heights of boxes in pixels, by split. Shape: ``(N, 2)``.
        images: Width and height of the image of each box, by split. Shape: ``(N, 2)``.
        scales: The sizes of the detector; None plots the original sizes.
    """
    figure, axes = _figure()
    sides = {}
    for split, size in boxes.items():
        factor = 1.0
        if scales is not None and len(size):
            long, short = max(scales.scale), min(scales.scale)
            frame = images[split]
            factor = np.minimum(long / frame.max(1), short / frame.min(1))
        side = np.sqrt(np.maximum(size.prod(1), 1e-6)) * factor
        sides[split] = side[side > 0]
    every = np.concatenate([*sides.values(), [16.0, 64.0]])
    edges = np.geomspace(max(1.0, every.min() / 1.05), every.max() * 1.05, 48).tolist()
    for split, side in sides.items():
        axes.hist(side, edges, color=_colour(split), alpha=0.65, label=split)
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter('%d'))
    axes.set_ylabel('objects')
    title = 'object sizes: square root of the area in pixels'
    if scales is not None:
        title += f', as {scales.name} sees them'
        for number, stride in enumerate(scales.strides):
            label = 'strides' if not number else None
            axes.axvline(stride, color='#888888', linestyle=':', linewidth=1, label=label)
        for number, anchor in enumerate(scales.anchors):
            label = 'anchors' if not number else None
            axes.axvline(anchor, color='#b03030', linestyle='--', linewidth=1, label=label)
    axes.legend(frameon=False)
    return _png(figure, title)


def objects_per_image(counts: Mapping[str, np.ndarray]) -> bytes:
    """Histogram of the number of objects per image.

    Args:
        counts: Number of objects in each image, by split. Shape: ``(N,)``.
    """
    figure, axes = _figure()
    most = int(max([value.max() for value in counts.values() if len(value)], default=0))
    edges = np.arange(most + 2) - 0.5 if most < 60 else np.linspace(-0.5, most + 0.5, 60)
    for split, value in counts.items():
        axes.hist(value, edges.tolist(), color=_colour(split), alpha=0.65, label=split)
    axes.set_xlabel('objects per image')
    axes.set_ylabel('images')
    axes.legend(frameon=False)
    return _png(figure, 'objects per image')


def image_sizes(sizes: Mapping[str, np.ndarray]) -> bytes:
    """Scatter plot of image widths and heights.

    Args:
        sizes: Widths and heights in pixels, by split. Shape: ``(N, 2)``.
    """
    figure, axes = _figure(width=5, height=4.4)
    for split, value in sizes.items():
        unique, counts = np.unique(value.reshape(-1, 2), axis=0, return_counts=True)
        area = 12 + 160 * counts / max(1, counts.max(initial=1))
        widths, heights = unique.T
        axes.scatter(
            widths,
            heights,
            s=area,
            color=_colour(split),
            alpha=0.5,
            label=split,
            linewidths=0,
        )
    axes.set_xlabel('width in pixels')
    axes.set_ylabel('height in pixels')
    largest = np.concatenate([np.ones((1, 2)), *sizes.values()]).max(0) * 1.08
    axes.set_xlim(0, largest[0])
    axes.set_ylim(0, largest[1])
    axes.legend(frameon=False)
    return _png(figure, 'image sizes (larger dots: more images)')


def heat_map(heat: np.ndarray) -> bytes:
    """Heat map of the positions of objects.

    Args:
        heat: Number of boxes that cover each cell of an image. Shape: ``(H, W)``.
    """
    figure, axes = _figure(width=5, height=4.4)
    shown = axes.imshow(heat, cmap='viridis', extent=(0, 1, 1, 0), interpolation='nearest')
    axes.set_xlabel('width')
    axes.set_ylabel('height')
    figure.colorbar(shown, ax=axes, label='boxes')
    return _png(figure, 'object positions')


def _figure(width: float = 8, height: float = 3.4) -> tuple[Figure, matplotlib.axes.Axes]:
    # Not pyplot, which keeps every figure in memory and needs a display.
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.add_subplot()
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _colour(split: str) -> str:
    return COLOURS.get(split, '#777777')


def _png(figure: Figure, title: str) -> bytes:
    figure.axes[0].set_title(title, fontsize=10, loc='left')
    file = BytesIO()
    figure.savefig(file, format='png', dpi=DPI)
    return file.getvalue()
