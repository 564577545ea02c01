"""Charts as the page draws them: places of their marks, and the facts in words.

Places are shares of the width and height in percent, from the upper left corner, so that a chart
fills any width while its letters keep their size.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A bar: its split, its length in percent, its number, and all that is known about it."""

    split: str
    length: float
    shown: str
    tip: str


@dataclass(frozen=True)
class Row:
    """One row of a bar chart: its name, and a bar for each split."""

    name: str
    bars: list[Bar]


@dataclass(frozen=True)
class Span:
    """A vertical strip with a tooltip."""

    x: float
    width: float
    tip: str


@dataclass(frozen=True)
class Line:
    """A vertical line, and what it marks."""

    place: float
    kind: str
    tip: str


@dataclass(frozen=True)
class Dot:
    """A dot; its radius is in pixels."""

    x: float
    y: float
    radius: float
    split: str
    tip: str


@dataclass(frozen=True)
class Chart:
    """What all charts have.

    Attributes:
        title: What it shows.
        facts: What it says, in words.
        splits: The splits that it shows.
    """

    kind: ClassVar[str]
    title: str
    facts: str
    splits: list[str]


@dataclass(frozen=True)
class Bars(Chart):
    """Horizontal bars; those of ``more`` are folded away, others only counted."""

    kind = 'bars'
    rows: list[Row]
    more: list[Row]
    unlisted: int = 0


@dataclass(frozen=True)
class Steps(Chart):
    """Histograms on top of each other: by split, the corners of its outline for an SVG polygon."""

    kind = 'steps'
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    outlines: dict[str, str]
    spans: list[Span]
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Dots(Chart):
    """A scatter plot."""

    kind = 'dots'
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    dots: list[Dot]


@dataclass(frozen=True)
class Heat(Chart):
    """A heat map: a PNG image as a data address, and the number that its darkest cell shows."""

    kind = 'heat'
    image: str
    most: str


def round_steps(most: float, *, wanted: int = 4, whole: bool = False) -> list[float]:
    """Round numbers from 0 to at most ``most``, about ``wanted`` steps apart.

    Args:
        most: The end of the axis, above 0.
        wanted: Number of steps.
        whole: Whether only whole numbers make sense.
    """
    unit = 10.0 ** math.floor(math.log10(most / wanted))
    step = next(unit * factor for factor in (1, 2, 5, 10, 20) if most / (unit * factor) <= wanted)
    if whole:
        step = max(1.0, step)
    return [step * index for index in range(math.floor(most / step * (1 + 1e-9)) + 1)]


def percent(share: float) -> str:
    """A share in percent, rounded."""
    if 0 < share < 0.001:
        return '<0.1 %'
    return f'{100 * share:.1f} %' if 0 < share < 0.1 else f'{100 * share:.0f} %'


def brief(number: float) -> str:
    """A number in few characters: ``12 k``."""
    for size, suffix in ((1e9, ' G'), (1e6, ' M'), (1e4, ' k')):
        if number >= size:
            scaled = number / (1e3 if suffix == ' k' else size)
            return f'{scaled:.3g}{suffix}'
    return f'{number:,.4g}' if number < 1000 else f'{number:,.0f}'
