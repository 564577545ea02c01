"""Drawn results as they are written to files: enlarged, with a legend, and side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from casvit.drawing.draw import draw, draw_objects
from casvit.drawing.palette import colours_of
from casvit.drawing.style import STYLE, Style
from casvit.drawing.text import label_ink, write
from casvit.results import Classification, Detections, LocalMask, Result, SemanticMap

# Background of titles and legends, and of the gap between two images.
BACKGROUND = np.array((32, 33, 36), np.uint8)
TITLES = ('ground truth', 'prediction')


class Entry(NamedTuple):
    """A class in a legend: its name, a number that belongs to it, and its colour."""

    name: str
    number: str
    colour: tuple[int, ...]


class Panel(NamedTuple):
    """A drawn image, the entries of its legend, and what the legend lists."""

    pixels: np.ndarray
    legend: list[Entry]
    lead: str = ''


def drawn_for_file(
    result: Result, image: np.ndarray, style: Style = STYLE, *, scored: bool = True
) -> np.ndarray:
    """Draws a result, enlarged if the image is small, with a legend below if it needs one.

    Args:
        result: The result.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.
        scored: Whether to write the scores of objects; annotations have none.

    Returns:
        A new image, which may be larger. Shape: ``(h, w, 3)``, uint8 RGB.
    """
    panel = _panel(*enlarged(result, image, style), style, scored)
    if not style.legend:
        return panel.pixels
    return _with_legend(panel.pixels, panel.legend, panel.lead, _letters(panel, style, result.tile))


def compared(
    truth: Result, prediction: Result, image: np.ndarray, style: Style = STYLE
) -> np.ndarray:
    """Draws ground truth and prediction side by side, with titles above and one legend below.

    Args:
        truth: The annotations of an image.
        prediction: The prediction for it.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.

    Returns:
        A new image. Shape: ``(h, w, 3)``, uint8 RGB.
    """
    panels = [
        _panel(*enlarged(result, image, style), style, scored)
        for result, scored in ((truth, False), (prediction, True))
    ]
    letters = _letters(panels[0], style, None)
    titled = [
        titled_image(panel.pixels, title, letters)
        for panel, title in zip(panels, TITLES, strict=True)
    ]
    gap = _filled(len(titled[0]), max(4, letters // 2))
    pixels = np.concatenate([titled[0], gap, titled[1]], axis=1)
    if not style.legend:
        return pixels
    # A class has one entry: its numbers may differ in the two images.
    known = {entry.name: entry for panel in panels for entry in panel.legend}
    legend = [entry._replace(number='') for entry in known.values()]
    return _with_legend(pixels, legend, panels[0].lead or panels[1].lead, letters)


def labelled_image(
    labels: Sequence[str],
    prediction: Classification | None,
    image: np.ndarray,
    style: Style = STYLE,
) -> np.ndarray:
    """Draws an image for classification: its annotated classes above it, the prediction on it.

    Args:
        labels: Names of the annotated classes; may be empty.
        prediction: The prediction; None if there is none.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: How to draw.

    Returns:
        A new image. Shape: ``(h, w, 3)``, uint8 RGB.
    """
    height, width = image.shape[:2]
    result = prediction
    if result is None:
        result = Classification(np.zeros(0), classes=(), height=height, width=width)
    panel = _panel(*enlarged(result, image, style), style, True)
    if not style.labels or not labels:
        return panel.pixels
    title = f'{TITLES[0]}: {", ".join(labels)}'
    return titled_image(panel.pixels, title, _letters(panel, style, None))


def titled_image(pixels: np.ndarray, title: str, letters: int) -> np.ndarray:
    """Writes a title above an image.

    Args:
        pixels: Shape: ``(H, W, 3)``, uint8 RGB.
        title: One line; shortened if it is too wide.
        letters: Height of letters in pixels.

    Returns:
        Shape: ``(H + h, W, 3)``, uint8 RGB.
    """
    width = pixels.shape[1]
    ink = label_ink(title, '', letters, width)
    bar = _filled(ink.shape[0] + letters // 3, width)
    write(bar, ink, max(0, (width - ink.shape[1]) // 2), letters // 6, BACKGROUND)
    return np.concatenate([bar, pixels])


@singledispatch
def _scaled(result: Any, factor: int) -> Any:
    """A result in an image that is larger by a whole number."""
    return result


@_scaled.register
def _scaled_detections(result: Detections, factor: int) -> Detections:
    masks = None
    if result.masks is not None:
        masks = [_scaled_mask(mask, factor) for mask in result.masks]
    return replace(result, boxes=result.boxes * factor, masks=masks)


@_scaled.register
def _scaled_map(result: SemanticMap, factor: int) -> SemanticMap:
    return replace(result, class_ids=result.class_ids.repeat(factor, 0).repeat(factor, 1))


def _scaled_mask(mask: LocalMask, factor: int) -> LocalMask:
    if not mask.bitmap.size:
        return mask
    # With a margin, so that the contour is smooth at the edge of the region as well.
    framed = np.pad(mask.bitmap, 1).astype(np.uint8) * 255
    height, width = framed.shape
    size = (width * factor, height * factor)
    smooth = np.asarray(Image.fromarray(framed).resize(size, Image.Resampling.BILINEAR)) > 127
    inside = smooth[factor:-factor, factor:-factor]
    return LocalMask(mask.x * factor, mask.y * factor, inside)


def enlarged(result: Result, image: np.ndarray, style: Style) -> tuple[Result, np.ndarray]:
    """A result and its image, enlarged if the image is small.

    Args:
        result: The result.
        image: Shape: ``(H, W, 3)``, uint8 RGB.
        style: Says whether to enlarge.
    """
    height, width = image.shape[:2]
    factor = style.factor(height, width)
    if factor == 1:
        return result, image
    size = (width * factor, height * factor)
    larger = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    tile = None if result.tile is None else result.tile * factor
    scaled = replace(_scaled(result, factor), height=size[1], width=size[0], tile=tile)
    return scaled, larger


@singledispatch
def _panel(result: Any, image: np.ndarray, style: Style, scored: bool) -> Panel:
    """Draws a result, and lists what its legend needs."""
    return Panel(draw(result, image, style=style), [])


@_panel.register
def _panel_of_objects(result: Detections, image: np.ndarray, style: Style, scored: bool) -> Panel:
    canvas, unlabelled = draw_objects(result, image, style=style, scored=scored)
    colours = colours_of(result.palette, len(result.classes))
    counts = Counter(result.class_ids[unlabelled].tolist())
    entries = [
        Entry(result.classes[index], f'+{count}', tuple(colours[index].tolist()))
        for index, count in counts.most_common()
    ]
    return Panel(canvas, entries, 'without a label:' if entries else '')


@_panel.register
def _panel_of_classes(result: SemanticMap, image: np.ndarray, style: Style, scored: bool) -> Panel:
    canvas = draw(result, image, style=style)
    if not style.labels:
        return Panel(canvas, [])
    colours = colours_of(result.palette, len(result.classes))
    entries = [
        Entry(area.name, _percent(area.share), tuple(colours[area.class_id].tolist()))
        for area in result
    ]
    return Panel(canvas, entries)


def _percent(share: float) -> str:
    return f'{100 * share:.0f} %' if share >= 0.005 else '<1 %'


def _letters(panel: Panel, style: Style, tile: int | None) -> int:
    height, width = panel.pixels.shape[:2]
    return style.sizes(height, width, tile)[1]


def _with_legend(
    pixels: np.ndarray, legend: Sequence[Entry], lead: str, letters: int
) -> np.ndarray:
    """Adds a strip below an image with the classes, as many in a row as have room."""
    if not legend:
        return pixels
    width, gap = pixels.shape[1], max(2, letters // 3)
    entries = [Entry(lead, '', tuple(BACKGROUND.tolist()))] if lead else []
    entries += legend
    inks = [
        label_ink(entry.name, entry.number, letters, max(1, width - 2 * gap)) for entry in entries
    ]
    places, x, y = [], gap, gap
    for ink in inks:
        if x > gap and x + ink.shape[1] + gap > width:
            x, y = gap, y + ink.shape[0] + gap
        places.append((x, y))
        x += ink.shape[1] + gap
    strip = _filled(y + inks[-1].shape[0] + gap, width)
    for entry, ink, place in zip(entries, inks, places, strict=True):
        write(strip, ink, *place, np.array(entry.colour, np.uint8))
    return np.concatenate([pixels, strip])


def _filled(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)
