"""Checks that published weights are what their name says: model, size, classes, every layer."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from casvit.errors import CheckpointError
from casvit.sentences import some
from casvit.tables import PublishedWeights
from casvit_mm.models.casvit import CASViT
from casvit_mm.models.checkpoint.publish import native_weights
from casvit_mm.models.checkpoint.published_layout import guess_size
from casvit_mm.models.checkpoint.read import read_checkpoint

BACKBONE = 'backbone.'


class Head(NamedTuple):
    """The head of a published model.

    Attributes:
        name: What models with this head are called.
        layer: Key of the weights of its last layer.
        each: Outputs of this layer per class.
        classes: Number of classes of the published models.
        stages: Stages whose output norms it needs.
    """

    name: str
    layer: str
    each: int
    classes: int
    stages: tuple[int, ...]


ALL = (0, 1, 2, 3)
HEADS = {
    'classification': Head('classifier', 'head.fc.weight', 1, 1000, (3,)),
    'instance': Head('Mask R-CNN', 'roi_head.mask_head.conv_logits.weight', 1, 80, ALL),
    # Nine anchors at each position.
    'detection': Head('RetinaNet', 'bbox_head.retina_cls.weight', 9, 80, (1, 2, 3)),
    'semantic': Head('Semantic FPN', 'decode_head.conv_seg.weight', 1, 150, ALL),
}
"""By task."""


def check_published(file: Path, weights: PublishedWeights) -> str:
    """Checks that a file holds the published weights of a name.

    Args:
        file: The file, in the published layout or that of this package.
        weights: What it should hold.

    Returns:
        What it holds, such as 'a Mask R-CNN with CAS-ViT-S, 80 classes'.

    Raises:
        CheckpointError: It cannot be read, holds another model, or lacks layers.
    """
    state = native_weights(read_checkpoint(file)['state_dict'], f'The file {file}')
    head = HEADS[weights.task]
    expected = _described(head.name, weights.size, head.classes)
    found = _found(state)
    if found != expected:
        raise CheckpointError(f'The file {file} holds {found}; {weights.name} is {expected}.')
    if lacking := _lacking(state, weights.size, head.stages):
        raise CheckpointError(
            f'The file {file} holds {found}, but not all of its layers: {some(lacking)} missing '
            'or of another shape.'
        )
    return found


def _found(state: Mapping[str, Tensor]) -> str:
    prefix = BACKBONE if any(key.startswith(BACKBONE) for key in state) else ''
    size = guess_size(dict(state), prefix)
    for head in HEADS.values():
        if head.layer in state:
            return _described(head.name, size, state[head.layer].shape[0] // head.each)
    return _described('model without a known head', size, None)


def _described(name: str, size: str | None, classes: int | None) -> str:
    backbone = f'CAS-ViT-{size.upper()}' if size else 'a CAS-ViT of no published size'
    count = '' if classes is None else f', {classes:,} classes'
    return f'a {name} with {backbone}{count}'


def _lacking(state: Mapping[str, Tensor], size: str, stages: tuple[int, ...]) -> list[str]:
    """Layers of the backbone that are not in a file."""
    wanted = CASViT(size, out_indices=stages).state_dict()
    return [
        key
        for key, value in wanted.items()
        if not key.endswith('num_batches_tracked')
        and (f'{BACKBONE}{key}' not in state or state[f'{BACKBONE}{key}'].shape != value.shape)
    ]
