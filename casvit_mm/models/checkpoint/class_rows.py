"""Keeps the classification weights of classes that a checkpoint and a new dataset share.

A detector fine-tuned on other classes gets new classification layers, because the number of
outputs differs. Outputs of classes with the same name are copied from the checkpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassLayer:
    """How the outputs of a layer are assigned to classes.

    Attributes:
        each: Number of outputs per class; None if it depends on the anchors.
        class_major: Whether outputs are ordered by class (``class * n + i``) or by anchor
            (``i * classes + class``).
        background: Whether there is one more class, the background, in last place.
    """

    each: int | None = 1
    class_major: bool = False
    background: bool = False


# Keyed by the names that heads in mmdet, mmseg and mmpretrain give to their last layers.
CLASS_LAYERS = {
    'fc_cls': ClassLayer(background=True),
    'fc_reg': ClassLayer(each=4, class_major=True),
    'conv_logits': ClassLayer(),
    'retina_cls': ClassLayer(each=None),
    'rtm_cls': ClassLayer(each=None),
    'atss_cls': ClassLayer(each=None),
    'gfl_cls': ClassLayer(each=None),
    'conv_cls': ClassLayer(each=None),
    'conv_seg': ClassLayer(),
    'fc': ClassLayer(),
}


def keep_known_classes(
    weights: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    old: Sequence[str],
    new: Sequence[str],
) -> tuple[dict[str, Tensor], list[str]]:
    """Copies the outputs of shared classes into the last layers of a model.

    Args:
        weights: Weights of a checkpoint.
        model: Weights of the model, kept for classes that the checkpoint does not know.
        old: Classes of the checkpoint.
        new: Classes of the model.

    Returns:
        The weights, with the classes of the model in the last layers, in the model's order; and
        the shared classes.
    """
    fitted = dict(weights)
    if list(old) == list(new):
        return fitted, []
    shared = [name for name in new if name in old]
    taken = False
    for key, value in weights.items():
        layer, target = _class_layer(key), model.get(key)
        if layer is None or target is None or value.shape[1:] != target.shape[1:]:
            continue
        rows = _rows(layer, len(old), value), _rows(layer, len(new), target)
        if rows[0] is None or rows[1] is None or rows[0].shape[1] != rows[1].shape[1]:
            continue
        mixed = target.detach().clone().to(value)
        for name in shared:
            mixed[rows[1][new.index(name)]] = value[rows[0][old.index(name)]]
        if layer.background:
            mixed[-1] = value[-1]
        fitted[key] = mixed
        taken = True
    return fitted, shared if taken else []


def _class_layer(key: str) -> ClassLayer | None:
    """The layout of the layer of a key such as ``roi_head.bbox_head.fc_cls.weight``, if known."""
    parts = key.split('.')[:-1]
    # Keys of layers in a list end with their index: `bbox_head.rtm_cls.0.weight`.
    while parts and parts[-1].isdigit():
        parts.pop()
    if not any(part.endswith('head') for part in parts):
        return None
    return CLASS_LAYERS.get(parts[-1])


def _rows(layer: ClassLayer, classes: int, value: Tensor) -> Tensor | None:
    """Output indices of each class. Shape: ``(classes, n)``; None if it is class-agnostic."""
    outputs = value.shape[0] - layer.background
    # A single output, class-agnostic or of the only class, is loaded as it is.
    if outputs <= 1 and not layer.background:
        return None
    if not classes or outputs % classes or outputs // classes != (layer.each or outputs // classes):
        return None
    places = torch.arange(outputs)
    if layer.class_major:
        return places.reshape(classes, -1)
    return places.reshape(-1, classes).T
