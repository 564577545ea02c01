"""Config fragments derived from the table of CAS-ViT sizes."""

from collections.abc import Sequence
from typing import Any

from casvit.tables import ARCHITECTURES, Architecture


def dense_sizes(
    out_indices: Sequence[int], **inputs: Sequence[int] | int
) -> dict[str, dict[str, Any]]:
    """The settings of a detector or segmentor that depend on the size.

    Args:
        out_indices: Stages (0 to 3) that the backbone outputs.
        **inputs: Parts of the model that take features of the backbone, each with its stages: a
            sequence if its ``in_channels`` is a list, an integer if it is a number. Defaults to
            ``neck=out_indices``.

    Returns:
        For every size, a fragment to merge into ``model``: the backbone's ``arch``,
        ``drop_path_rate`` and ``init_cfg``, and the ``in_channels`` of those parts.

    Example:
        >>> sizes = dense_sizes((0, 1, 2, 3), decode_head=(0, 1, 2, 3), auxiliary_head=2)
        >>> sizes['xs']['auxiliary_head'], sizes['xs']['decode_head']
        ({'in_channels': 112}, {'in_channels': [48, 56, 112, 220]})
    """
    inputs = inputs or dict(neck=out_indices)
    return {
        name: dict(
            backbone=dict(
                arch=name,
                drop_path_rate=size.drop_path_rate,
                init_cfg=size.checkpoint and dict(type='Pretrained', checkpoint=size.checkpoint),
            ),
            **{part: dict(in_channels=_channels(size, stages)) for part, stages in inputs.items()},
        )
        for name, size in ARCHITECTURES.items()
    }


def classifier_sizes(*, pretrained: bool = False) -> dict[str, dict[str, Any]]:
    """The settings of a classifier that depend on the size.

    Args:
        pretrained: Whether to start from the published ImageNet weights.

    Returns:
        For every size, a fragment to merge into ``model``: the backbone's ``arch``, the head's
        ``in_channels``, and if ``pretrained`` the model's ``init_cfg``.
    """
    return {
        name: dict(
            backbone=dict(arch=name),
            head=dict(in_channels=size.channels[-1]),
            **(_from_file(size.checkpoint) if pretrained else {}),
        )
        for name, size in ARCHITECTURES.items()
    }


def _from_file(checkpoint: str | None) -> dict[str, Any]:
    return dict(init_cfg=checkpoint and dict(type='Pretrained', checkpoint=checkpoint))


def _channels(size: Architecture, stages: Sequence[int] | int) -> list[int] | int:
    if isinstance(stages, int):
        return size.channels[stages]
    return [size.channels[stage] for stage in stages]
