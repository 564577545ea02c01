"""Charts of the statistics of a dataset."""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from casvit.names import printable
from casvit.sentences import count_of, some
from casvit_mm.report.audit.charts import (
    Bar,
    Bars,
    Dot,
    Dots,
    Heat,
    Line,
    Row,
    Span,
    Steps,
    Tick,
    brief,
    percent,
    round_steps,
)

# Classes that are shown, and that are folded away.
MOST_CLASSES, FOLDED = 60, 940
# Above this ratio of the longest to the shortest bar, their scale is logarithmic.
LOG_RATIO = 50
BINS = 48
# Sides in pixels between small, medium and large objects in the COCO evaluation.
SMALL, LARGE = 32, 96
# Larger objects are counted as of this size.
LARGEST = 1e5
# Sizes of images are counted in this many cells per axis.
CELLS = 64
HEAT_RGB = (37, 99, 235)


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


def class_histogram(counts: Mapping[str, Mapping[str, int]], what: str) -> Bars | None:
    """Bar chart of the frequency of each class in each split.

    Args:
        counts: Number by split and class.
        what: Name of what is counted: ``objects``; ``pixels`` are shown as shares of their split.

    Returns:
        The chart; None without classes.
    """
    total: Counter[str] = Counter()
    for numbers in counts.values():
        total.update(numbers)
    names = sorted(total, key=total.__getitem__, reverse=True)
    if not names:
        return None
    whole = {
        split: max(1, sum(numbers.values())) if what == 'pixels' else 1
        for split, numbers in counts.items()
    }
    values = np.array(
        [
            [numbers.get(name, 0) / whole[split] for split, numbers in counts.items()]
            for name in names
        ]
    )
    longest = values.max(initial=0) or 1.0
    shortest = values[values > 0].min(initial=longest)
    logarithmic = longest / shortest > LOG_RATIO
    lengths = 100 * values / longest
    if logarithmic:
        # The shortest bar is visible as well.
        lengths = (
            100 * np.log(np.maximum(2 * values / shortest, 1)) / np.log(2 * longest / shortest)
        )
    rows = []
    for name, own, lengths_of_row in zip(names, values, lengths, strict=True):
        bars = []
        for split, value, length in zip(counts, own, lengths_of_row, strict=True):
            number = counts[split].get(name, 0)
            shown = percent(value) if what == 'pixels' else brief(number)
            tip = f'{printable(name)}: {number:,} {what} in {split}'
            bars.append(Bar(split, round(float(length), 1), shown, tip))
        rows.append(Row(printable(name), bars))
    title = f'{what.capitalize()} by class'
    listed = min(MOST_CLASSES, max(1, sum(1 for number in total.values() if number)))
    return Bars(
        f'{title} (logarithmic scale)' if logarithmic else title,
        _class_facts(names, total, counts, what),
        list(counts),
        rows[:listed],
        rows[listed:][:FOLDED],
        max(0, len(rows) - listed - FOLDED),
    )


def object_sizes(
    boxes: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    scales: DetectorScales | None,
) -> Steps | None:
    """Histogram of object sizes as the detector sees them, with its strides and anchors.

    Args:
        boxes: Widths and heights of boxes in pixels, by split. Shape: ``(N, 2)``.
        images: Width and height of the image of each box, by split. Shape: ``(N, 2)``.
        scales: The sizes of the detector; None plots the original sizes.

    Returns:
        The chart; None without objects.
    """
    sides = {}
    for split, size in boxes.items():
        factor: np.ndarray | float = 1.0
        if scales is not None and len(size):
            long, short = max(scales.scale), min(scales.scale)
            frame = images[split]
            factor = np.minimum(long / frame.max(1), short / frame.min(1))
        with np.errstate(over='ignore', invalid='ignore'):
            side = np.sqrt(np.maximum(size.prod(1), 0)) * factor
        sides[split] = side[np.isfinite(side) & (side > 0)]
    if not any(map(len, sides.values())):
        return None
    looked_for = {'stride': scales.strides, 'anchor': scales.anchors} if scales else {}
    powers = {split: np.log2(np.clip(side, 1, LARGEST)) for split, side in sides.items()}
    every = np.concatenate([*powers.values(), *map(np.log2, looked_for.values()), (4, 6)])
    low, high = every.min() - 0.05, every.max() + 0.05
    edges = np.linspace(low, high, BINS + 1)

    def place(power: float) -> float:
        return round(100 * float(power - low) / float(high - low), 2)

    step = int(np.ceil((high - low) / 7))
    facts = ['The size is the square root of the area of the box.']
    facts += [_size_facts(split, side) for split, side in sides.items() if len(side)]
    lines = []
    for kind, values in looked_for.items():
        lines += [Line(place(np.log2(v)), kind, f'{kind}: {v:.3g} pixels') for v in values]
        if values:
            shown = some((f'{value:.3g}' for value in values), 5, quoted=False)
            facts.append(f'The {kind}s are {shown}.')
    return _steps(
        f'Object sizes, as {scales.name} sees them' if scales else 'Object sizes',
        ' '.join(facts),
        {split: _counted(power, edges) for split, power in powers.items()},
        edges,
        'objects',
        [f'{2**start:.0f} to {2**end:.0f} pixels' for start, end in pairwise(edges)],
        x_label='size in pixels',
        x_ticks=[
            Tick(place(power), brief(2.0**power))
            for power in range(int(np.ceil(low)), int(high) + 1, step)
        ],
        lines=lines,
    )


def objects_per_image(counts: Mapping[str, np.ndarray]) -> Steps | None:
    """Histogram of the number of objects per image.

    Args:
        counts: Number of objects in each image, by split. Shape: ``(N,)``.

    Returns:
        The chart; None without images.
    """
    if not any(map(len, counts.values())):
        return None
    most = int(max(value.max(initial=0) for value in counts.values()))
    edges = np.linspace(-0.5, most + 0.5, (most + 1 if most < BINS else BINS) + 1)
    tips = []
    for start, end in pairwise(edges):
        first, last = int(np.ceil(start)), int(np.ceil(end)) - 1
        tips.append(count_of(first, 'object') if first == last else f'{first} to {last} objects')
    facts = [
        f'{split}: {value.mean():.1f} objects per image on average, at most {value.max()}; '
        f'{count_of(int((value == 0).sum()), "background image")}.'
        for split, value in counts.items()
        if len(value)
    ]
    ticks = [
        Tick(round(100 * (step + 0.5) / (most + 1), 2), brief(step))
        for step in round_steps(max(most, 1), wanted=6, whole=True)
        if step <= most
    ]
    return _steps(
        'Objects per image',
        ' '.join(facts),
        {split: _counted(value, edges) for split, value in counts.items()},
        edges,
        'images',
        tips,
        x_label='objects in the image',
        x_ticks=ticks,
    )


def image_sizes(sizes: Mapping[str, np.ndarray]) -> Dots | None:
    """Scatter plot of image widths and heights.

    Args:
        sizes: Widths and heights in pixels, by split. Shape: ``(N, 2)``.

    Returns:
        The chart; None without images.
    """
    every = np.concatenate([*(value.reshape(-1, 2) for value in sizes.values()), np.zeros((0, 2))])
    if not len(every):
        return None
    across, down = (max(1.0, float(value)) * 1.05 for value in every.max(0))
    groups = []
    for split, value in sizes.items():
        own = value.reshape(-1, 2)
        cells = np.floor(own / (across, down) * CELLS)
        _, owner, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        owner = owner.ravel()
        means = np.zeros((len(counts), 2))
        np.add.at(means, owner, own)
        means /= counts[:, None]
        unequal = set(owner[(own != means[owner]).any(1)].tolist())
        groups += [
            (split, mean, int(count), index in unequal)
            for index, (mean, count) in enumerate(zip(means, counts, strict=True))
        ]
    largest = max(count for _, _, count, _ in groups)
    dots = []
    # Large dots first, so that they cover no others.
    for split, (width, height), count, mixed in sorted(groups, key=lambda group: -group[2]):
        about = 'about ' if mixed else ''
        tip = f'{count_of(count, "image")} of {about}{width:.0f} x {height:.0f} in {split}'
        radius = round(3 + 9 * (count / largest) ** 0.5, 1)
        x, y = round(100 * width / across, 2), round(100 - 100 * height / down, 2)
        dots.append(Dot(x, y, radius, split, tip))
    return Dots(
        'Image sizes (larger dots: more images)',
        _image_facts(every),
        list(sizes),
        'width in pixels',
        'height in pixels',
        [Tick(round(100 * step / across, 2), brief(step)) for step in round_steps(across)],
        [Tick(round(100 - 100 * step / down, 2), brief(step)) for step in round_steps(down)],
        dots,
    )


def heat_map(heat: np.ndarray) -> Heat | None:
    """Heat map of the positions of objects.

    Args:
        heat: Number of boxes that cover each cell of an image. Shape: ``(H, W)``.

    Returns:
        The chart; None without objects.
    """
    heat = np.maximum(heat, 0)
    most = int(heat.max(initial=0))
    if not most:
        return None
    # Opaque where most boxes are, so that it suits a light and a dark page.
    pixels = np.empty((*heat.shape, 4), np.uint8)
    pixels[..., :3] = HEAT_RGB[::-1]
    pixels[..., 3] = 255 * heat / most
    _, encoded = cv2.imencode('.png', pixels)
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    x, y = 100 * (column + 0.5) / heat.shape[1], 100 * (row + 0.5) / heat.shape[0]
    low, high = np.percentile(heat[[0, 0, -1, -1], [0, -1, 0, -1]], (0, 100)).astype(int)
    facts = (
        f'Most boxes, {most:,}, cover the position at {x:.0f} % of the width and {y:.0f} % of the '
        f'height of the image. The corners are covered by {low:,}'
        f'{f" to {high:,}" if high > low else ""}.'
    )
    return Heat(
        'Object positions',
        facts,
        [],
        f'data:image/png;base64,{b64encode(encoded.tobytes()).decode()}',
        f'{most:,}',
    )


def _counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(values, edges)[0]


def _steps(
    title: str,
    facts: str,
    counts: Mapping[str, np.ndarray],
    edges: np.ndarray,
    what: str,
    tips: Sequence[str],
    *,
    x_label: str,
    x_ticks: list[Tick],
    lines: Sequence[Line] = (),
) -> Steps:
    """Histograms in shares of their split, so that splits of different size can be compared."""
    shares = {split: number / max(1, number.sum()) for split, number in counts.items()}
    high = max(share.max() for share in shares.values()) * 1.05 or 1.0
    places = 100 * (edges - edges[0]) / (edges[-1] - edges[0])
    outlines = {}
    for split, share in shares.items():
        if share.any():
            heights = 100 - 100 * share / high
            corners = np.stack([np.repeat(places, 2)[1:-1], np.repeat(heights, 2)], 1)
            corners = np.concatenate([[(0, 100)], corners, [(100, 100)]])
            outlines[split] = ' '.join(f'{x:.2f},{y:.2f}' for x, y in corners)
    spans = []
    for index, tip in enumerate(tips):
        numbers = ', '.join(f'{split} {number[index]:,}' for split, number in counts.items())
        start, end = (round(float(place), 2) for place in places[index : index + 2])
        spans.append(Span(start, round(end - start, 2), f'{tip}: {what} in {numbers}'))
    y_ticks = [Tick(round(100 - 100 * s / high, 2), f'{100 * s:.3g} %') for s in round_steps(high)]
    return Steps(
        title,
        facts,
        list(counts),
        x_label,
        f'share of the {what} of a split',
        x_ticks,
        y_ticks,
        outlines,
        spans,
        list(lines),
    )


def _class_facts(
    names: Sequence[str],
    total: Mapping[str, int],
    counts: Mapping[str, Mapping[str, int]],
    what: str,
) -> str:
    used = [name for name in names if total[name]]
    if not used:
        return f'{count_of(len(names), "class")} without {what}.'
    number = sum(total.values())
    # An image has several classes: shares of their sum would mean nothing.
    shares = {name: f' ({percent(total[name] / number)})' for name in used if what != 'images'}
    shown = [f'{printable(name)} {total[name]:,}{shares.get(name, "")}' for name in used[:5]]
    facts = [f'{count_of(len(used), "class")} with {what}; most: {", ".join(shown)}.']
    if len(used) > 5:
        facts.append(f'Fewest: {printable(used[-1])} {total[used[-1]]:,}.')
    if len(used) < len(names):
        unused = map(printable, names[len(used) :])
        facts.append(f'No {what}: {some(unused, 5, quoted=False)}.')
    for split, numbers in counts.items():
        missing = [printable(name) for name in used if not numbers.get(name)]
        if missing and any(numbers.values()):
            facts.append(f'None in {split}: {some(missing, 5, quoted=False)}.')
    return ' '.join(facts)


def _size_facts(split: str, side: np.ndarray) -> str:
    small, large = (side < SMALL).mean(), (side > LARGE).mean()
    return (
        f'{split}: median {np.median(side):.0f} pixels; {percent(small)} are below {SMALL} pixels, '
        f'{percent(large)} above {LARGE}.'
    )


def _image_facts(sizes: np.ndarray) -> str:
    different, counts = np.unique(sizes, axis=0, return_counts=True)
    width, height = different[counts.argmax()]
    if len(different) == 1:
        return f'All {len(sizes):,} images are {width:.0f} x {height:.0f} pixels.'
    wide, high = (
        f'{low:.0f}' if low == most else f'{low:.0f} to {most:.0f}'
        for low, most in zip(different.min(0), different.max(0), strict=True)
    )
    return (
        f'{len(sizes):,} images of {len(different):,} sizes, {wide} pixels wide and {high} high. '
        f'Most frequent: {width:.0f} x {height:.0f} ({percent(counts.max() / len(sizes))}).'
    )
