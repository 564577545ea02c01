"""Compares the images that a config loads and normalises with those that its backbone takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from casvit.tables import SPLITS
from casvit_mm.config.view import ConfigView, nested, type_name

PAGE = 'docs/bands.md shows how images that are not RGB are loaded and normalised'
NOT_NORMALISED = {'model.data_preprocessor.mean': None, 'model.data_preprocessor.std': None}
SWAPS = ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb')


@dataclass
class Mismatch:
    """Parts of a model that do not fit together.

    Attributes:
        facts: What does not match, with keys and values.
        options: The values that make the parts fit, by their config keys.
    """

    facts: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


def compare_input(
    cfg: Mapping[str, Any], preprocessor: Mapping[str, Any], channels: int, found: Mismatch
) -> None:
    """Compares the data preprocessor and the pipelines of a config with its backbone.

    Args:
        cfg: The config.
        preprocessor: The data preprocessor of its model.
        channels: Channels of the input of its backbone.
        found: What does not match is added here.
    """
    steps = [
        step
        for split in SPLITS
        for dataset in ConfigView(cfg).datasets(split)
        for step in nested(dataset.get('pipeline'))
    ]
    loads_bands = any(type_name(step) == 'LoadBands' for step in steps)
    means = [step.get('mean') for step in steps if type_name(step) == 'NormalizeBands']
    if means:
        channels = _compare_bands(preprocessor, channels, means, found)
    else:
        _compare_mean(preprocessor, channels, found)
    swap = next((key for key in SWAPS if preprocessor.get(key)), None)
    # The data preprocessors of mmdet drop all channels but three. Those of mmseg and mmpretrain
    # leave images with another number alone.
    checked = type_name(preprocessor) in ('SegDataPreProcessor', 'ClsDataPreprocessor')
    if swap and (loads_bands if channels == 3 else not checked):
        found.facts.append(
            f'model.data_preprocessor.{swap} is for BGR images, but the backbone takes '
            f'{"what LoadBands loads" if channels == 3 else f"{channels} channels"}'
        )
        found.options[f'model.data_preprocessor.{swap}'] = False


def _compare_bands(
    preprocessor: Mapping[str, Any], channels: int, means: list[Any], found: Mismatch
) -> int:
    """Compares images that the pipelines normalise; returns how many bands they have."""
    other = next((len(mean) for mean in means if _differs(mean, channels)), channels)
    if other != channels:
        found.facts.append(
            f'model.backbone.in_channels is {channels}, but NormalizeBands is for images with '
            f'{other} bands'
        )
        found.options['model.backbone.in_channels'] = other
    if preprocessor.get('mean') is not None:
        found.facts.append('both NormalizeBands and model.data_preprocessor normalise the images')
        found.options |= NOT_NORMALISED
    return other


def _compare_mean(preprocessor: Mapping[str, Any], channels: int, found: Mismatch) -> None:
    mean: Any = preprocessor.get('mean')
    # A single value fits any number of channels.
    if not mean or not _differs(mean, channels) or len(mean) == 1:
        return
    found.facts.append(
        f'model.backbone.in_channels is {channels}, but model.data_preprocessor.mean is for '
        f'images with {len(mean)} channels ({PAGE})'
    )
    # The preprocessors of mmdet and mmseg take no other number.
    if len(mean) == 3 or type_name(preprocessor) == 'ClsDataPreprocessor':
        found.options['model.backbone.in_channels'] = len(mean)
    else:
        found.options |= NOT_NORMALISED


def _differs(mean: Any, channels: int) -> bool:
    is_list = isinstance(mean, Sequence) and not isinstance(mean, str)
    return is_list and len(mean) != channels
