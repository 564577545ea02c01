"""Measures candidates one after the other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from casvit_mm.benchmark.measure import measure
from casvit_mm.benchmark.subjects import first_features, first_mixer
from casvit_mm.comparison.candidates import Candidate
from casvit_mm.comparison.facts import facts, growth_of_macs
from casvit_mm.comparison.growing import measure_growth
from casvit_mm.comparison.plan import Settings, growth_cases, speed_group
from casvit_mm.comparison.receptive_field import open_branches, receptive_field, set_statistics

IMAGES = 8
GROWTH_TURNS = 3


def measure_candidate(
    candidate: Candidate, settings: Settings, imports: Sequence[str] = ()
) -> dict[str, Any]:
    """Measures all of a candidate, with random weights.

    Args:
        candidate: The candidate.
        settings: The settings.
        imports: Modules that register mixers.

    Returns:
        - ``label``, ``kind``, ``published``: those of the candidate; the last one as a dict.
        - ``facts``: as of :func:`casvit_mm.comparison.facts.facts`.
        - ``receptive_field``: as of :mod:`casvit_mm.comparison.receptive_field`.
        - ``speed``: a group of cases, as of :func:`casvit_mm.benchmark.measure.measure`.
        - ``growth``: by part, how ``seconds`` and ``macs`` grow with the area, as of
          :mod:`casvit_mm.comparison.growing` and :mod:`casvit_mm.comparison.facts`.

    Raises:
        BenchmarkError: The yardstick could not be measured, or a process was killed.
    """
    torch.manual_seed(0)
    backbone = candidate.build()
    entry: dict[str, Any] = {
        'label': candidate.label,
        'kind': candidate.kind,
        'published': candidate.published._asdict(),
        'facts': facts(backbone, settings.image_size),
        'receptive_field': _receptive_field(backbone, settings),
    }
    backbone.cpu()
    timing: Any = dict(threads=settings.threads, seconds=settings.seconds)
    group = speed_group(candidate, settings, imports)
    (entry['speed'],) = measure([group], turns=settings.turns, **timing)
    for case in entry['speed']['cases']:
        # Which operators take the time is what `casvit bench` says.
        del case['operators']
    cases = growth_cases(candidate, settings, imports)
    turns = min(settings.turns, GROWTH_TURNS)
    entry['growth'] = measure_growth(candidate.label, cases, turns=turns, **timing)
    for part, grown in entry['growth'].items():
        grown['macs'] = growth_of_macs(*_part(backbone, part, settings))
    return entry


def _receptive_field(backbone: nn.Module, settings: Settings) -> dict[str, Any]:
    backbone.to(settings.device)
    side = settings.image_size
    # The same images for all candidates, on all devices.
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, 3, side, side, generator=generator).to(settings.device)
    open_branches(backbone)
    set_statistics(backbone, images)
    return receptive_field(backbone, images)


def _part(
    backbone: Any, part: str, settings: Settings
) -> tuple[nn.Module, list[tuple[int, Tensor]]]:
    """A part of a backbone, and its inputs for images that grow."""
    sides = sorted(settings.growth_sizes)
    if part == 'mixer':
        inputs = [(side**2, first_features(settings.size, side)) for side in sides]
        return first_mixer(backbone), inputs
    return backbone, [(side**2, torch.rand(1, 3, side, side)) for side in sides]
