"""Config fragments derived from the tables of CAS-ViT sizes and of peers."""

from collections.abc import Mapping, Sequence
from typing import Any

from casvit.tables import ARCHITECTURES, PEERS, channels

Stages = Sequence[int] | int


def dense_sizes(
    out_indices: Sequence[int], **inputs: Stages | Mapping[str, Stages]
) -> dict[str, dict[str, Any]]:
    """The settings of a detector or segmentor that depend on the size.

    Args:
        out_indices: Stages (0 to 3) that the backbone outputs.
        **inputs: Parts of the model that take features of the backbone, each with its stages: a
            sequence if its ``in_channels`` is a list, an integer if it is a number; or a dict of
            these, if there are more keys than ``in_channels``. Defaults to ``neck=out_indices``.

    Returns:
        For every size, a fragment to merge into ``model``: the backbone's ``arch``,
        ``drop_path_rate`` and ``init_cfg``, and the ``in_channels`` of those parts.

    Raises:
        SizeError: There is no such stage.

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
            **{part: _inputs(name, stages) for part, stages in inputs.items()},
        )
        for name, size in ARCHITECTURES.items()
    }


def dense_peers(
    out_indices: Sequence[int], **inputs: Stages | Mapping[str, Stages]
) -> dict[str, dict[str, Any]]:
    """The settings of a detector or segmentor that depend on which peer is its backbone.

    Args:
        out_indices: Features that the backbone outputs: 0 to 3 for the strides 4, 8, 16, 32.
        **inputs: Parts of the model that take features of the backbone, as for
            :func:`dense_sizes`.

    Returns:
        For every peer of :data:`casvit.tables.PEERS`, by its key, a fragment to merge into
        ``model``: the backbone's ``type`` and ``name``, the ``in_channels`` of those parts, and
        the normalisation that its weights want.

    Raises:
        SizeError: There is no such stage.

    Example:
        >>> dense_peers((1, 2, 3))['resnet50']['neck']
        {'in_channels': [512, 1024, 2048]}
    """
    inputs = inputs or dict(neck=out_indices)
    return {
        name: dict(
            data_preprocessor=dict(mean=list(peer.mean), std=list(peer.std)),
            backbone=dict(type=peer.backbone, name=name),
            **{part: _inputs(name, stages) for part, stages in inputs.items()},
        )
        for name, peer in PEERS.items()
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


def _inputs(size: str, stages: Stages | Mapping[str, Stages]) -> dict[str, list[int] | int]:
    named = stages if isinstance(stages, Mapping) else {'in_channels': stages}
    return {
        key: channels(size, [of])[0] if isinstance(of, int) else channels(size, of)
        for key, of in named.items()
    }
