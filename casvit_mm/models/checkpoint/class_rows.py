"""Keeps what a checkpoint knows of classes that the new data have as well.

A detector fine-tuned on other classes gets new classification layers, because theirs have another
number of outputs. Where a class of the same name was known, its outputs are taken over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassLayer:
    """How the outputs of a layer belong to classes.

    Attributes:
        each: Number of outputs of a class; None where it depends on the anchors.
        class_major: Whether all outputs of a class stand together (``class * n + i``), or all
            classes of an anchor (``i * classes + class``).
        background: Whether one more class, the last, is the background.
    """

    each: int | None = 1
    class_major: bool = False
    background: bool = False


# By the name that heads of mmdet, mmseg and mmpretrain give their last layers.
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
    """Fits the outputs of known classes into the layers of a model.

    Args:
        weights: Weights of a checkpoint.
        model: Those of the model, which stay for classes that the checkpoint does not know.
        old: Classes of the checkpoint.
        new: Classes of the model.

    Returns:
        The weights, in which the last layers have the classes of the model, in its order; and the
        classes that were known.
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
    """What is known of the layer of a key such as ``roi_head.bbox_head.fc_cls.weight``."""
    parts = key.split('.')[:-1]
    # Layers in a list carry their number: `bbox_head.rtm_cls.0.weight`.
    while parts and parts[-1].isdigit():
        parts.pop()
    if not any(part.endswith('head') for part in parts):
        return None
    return CLASS_LAYERS.get(parts[-1])


def _rows(layer: ClassLayer, classes: int, value: Tensor) -> Tensor | None:
    """Outputs of each class. Shape: ``(classes, n)``; None where the layer is for all classes."""
    outputs = value.shape[0] - layer.background
    # One output for all, or one for the only class: what it knows of objects serves either way.
    if outputs <= 1 and not layer.background:
        return None
    if not classes or outputs % classes or outputs // classes != (layer.each or outputs // classes):
        return None
    places = torch.arange(outputs)
    if layer.class_major:
        return places.reshape(classes, -1)
    return places.reshape(-1, classes).T
