"""The settings of a comparison, and the benchmark cases of a candidate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from casvit_mm.benchmark.cases import PARTS, Case
from casvit_mm.benchmark.measure import Group
from casvit_mm.comparison.candidates import DEFAULT_MIXER, Candidate, ComparisonError

TRAINING_BATCH = 2
"""Images of a GPU in the detection recipes of most publications."""

LEAST_SIDES = 3


@dataclass(frozen=True)
class Settings:
    """What all candidates of a comparison are measured with.

    Attributes:
        size: Size of the CAS-ViT that has the token mixers.
        image_size: Side of the square images, in pixels.
        variants: Those of :data:`casvit.tables.COMPARED_VARIANTS` that are measured for inference.
        growth_sizes: Sides of the images with which the growth of the cost is measured.
        batch_size: Images of a batch for the throughput.
        turns: Number of turns of each case.
        seconds: Length of a turn.
        threads: Threads of each process.
        device: The device to measure on.

    Raises:
        ComparisonError: There are fewer than three different sides for the growth.
    """

    size: str
    image_size: int
    variants: tuple[str, ...]
    growth_sizes: tuple[int, ...]
    batch_size: int
    turns: int
    seconds: float
    threads: int
    device: str

    def __post_init__(self) -> None:
        if len(set(self.growth_sizes)) < LEAST_SIDES:
            raise ComparisonError(
                f'--growth-sizes needs at least {LEAST_SIDES} different sizes, to fit how the cost '
                'grows.'
            )


def speed_group(candidate: Candidate, settings: Settings, imports: Sequence[str] = ()) -> Group:
    """The cases of a candidate: all variants for an image and a batch, and a training step.

    They take turns with CAS-ViT, eager, on one image: times of candidates that are measured one
    after the other can be compared through it.

    Args:
        candidate: The candidate.
        settings: The settings.
        imports: Modules that register mixers.
    """
    shared: dict[str, Any] = dict(image_size=settings.image_size, device=settings.device)
    yardstick = Case(settings.size, 'eager', mixer=DEFAULT_MIXER, **shared)
    options = {**shared, **_model(candidate, imports)}
    cases = [
        Case(variant=variant, batch_size=batch, **options)
        for batch in dict.fromkeys((1, settings.batch_size))
        for variant in settings.variants
    ]
    cases.append(Case(variant='eager', mode='training', batch_size=TRAINING_BATCH, **options))
    # With the same imports, the candidate may be the yardstick itself.
    own = Case(**{**vars(yardstick), 'imports': options['imports']})
    if own in cases:
        return Group(candidate.label, tuple(cases), own, may_fail=True)
    return Group(candidate.label, (yardstick, *cases), yardstick, may_fail=True)


def growth_cases(
    candidate: Candidate, settings: Settings, imports: Sequence[str] = ()
) -> list[Case]:
    """The cases that show how the cost of a candidate grows with the area.

    Args:
        candidate: The candidate.
        settings: The settings.
        imports: Modules that register mixers.

    Returns:
        The whole backbone, and the token mixer of a candidate of that kind, for each size.
    """
    options = dict(device=settings.device, **_model(candidate, imports))
    return [
        Case(variant='eager', image_size=side, part=part, **options)
        for part in (PARTS if candidate.kind == 'mixer' else PARTS[:1])
        for side in settings.growth_sizes
    ]


def _model(candidate: Candidate, imports: Sequence[str]) -> dict[str, Any]:
    """The options of a case that say which model it is."""
    needed = () if candidate.mixer is None else tuple(imports)
    return dict(model=candidate.model, mixer=candidate.mixer, imports=needed)
