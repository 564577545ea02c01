"""The arguments of a CAS-ViT: what they come to, and which values are allowed."""

from collections.abc import Sequence

from casvit.tables import ARCHITECTURES

NUM_STAGES = 4


def linear_drop_path(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Drop path rate of every block, stage by stage: linear from 0 to ``rate``."""
    last = max(sum(depths) - 1, 1)
    return [
        [rate * (sum(depths[:stage]) + block) / last for block in range(depth)]
        for stage, depth in enumerate(depths)
    ]


def resolve_arch(arch: str | dict[str, Sequence[int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Depths and channels of a named or a custom size.

    Raises:
        ValueError: The name is unknown, or the dict is not four depths and four channels.
    """
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(f'arch={arch!r} is unknown; known sizes: {", ".join(ARCHITECTURES)}')
        return ARCHITECTURES[arch].depths, ARCHITECTURES[arch].channels
    expected = 'a dict like dict(depths=(2, 2, 4, 2), channels=(48, 56, 112, 220))'
    if not isinstance(arch, dict) or set(arch) != {'depths', 'channels'}:
        raise ValueError(f'arch={arch!r}: expected {", ".join(ARCHITECTURES)}, or {expected}')
    for name in ('depths', 'channels'):
        values = arch[name]
        if len(values) != NUM_STAGES or not all(isinstance(v, int) and v > 0 for v in values):
            raise ValueError(
                f'arch[{name!r}]={values!r}: expected {NUM_STAGES} positive integers, {expected}'
            )
    if arch['channels'][0] % 2:
        raise ValueError(
            f"arch['channels'][0]={arch['channels'][0]}: the first stage needs an even number of "
            'channels, the stem has half of them'
        )
    return tuple(arch['depths']), tuple(arch['channels'])


def check_arguments(
    in_channels: int, out_indices: Sequence[int], drop_path_rate: float, frozen_stages: int
) -> None:
    """Refuses values that no CAS-ViT can have, naming those it can.

    Raises:
        ValueError: One of the arguments is not allowed.
    """
    if not isinstance(in_channels, int) or in_channels < 1:
        raise ValueError(f'in_channels={in_channels!r}: expected a positive integer')
    indices = list(out_indices) if isinstance(out_indices, Sequence) else []
    if not indices or indices != sorted(set(indices)) or not set(indices) <= set(range(NUM_STAGES)):
        raise ValueError(
            f'out_indices={out_indices!r}: expected one or more of 0, 1, 2, 3, ascending'
        )
    if not 0 <= drop_path_rate < 1:
        raise ValueError(f'drop_path_rate={drop_path_rate!r}: expected 0 <= rate < 1')
    if frozen_stages not in range(-1, NUM_STAGES + 1):
        raise ValueError(
            f'frozen_stages={frozen_stages!r}: expected -1 (none), 0 (stem), or 1 to {NUM_STAGES}'
        )


def check_strides(strides: Sequence[int], dilations: Sequence[int]) -> None:
    """Refuses strides and dilations that no CAS-ViT can have, naming those it can.

    Raises:
        ValueError: One of the two is not allowed.
    """
    if not _are_integers(strides) or strides[0] != 1 or not set(strides) <= {1, 2}:
        raise ValueError(
            f'strides={strides!r}: expected {NUM_STAGES} numbers like (1, 2, 2, 2), each 1 or 2, '
            'the first 1: the stem comes before the first stage'
        )
    if not _are_integers(dilations) or min(dilations) < 1:
        raise ValueError(
            f'dilations={dilations!r}: expected {NUM_STAGES} positive integers like (1, 1, 1, 2)'
        )


def _are_integers(values: Sequence[int]) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) == NUM_STAGES
        and all(isinstance(value, int) for value in values)
    )
