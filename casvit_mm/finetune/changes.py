"""What a fine-tuning changes in the model of its base config: classes, size, preprocessing."""

import keyword
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import CliError
from casvit_mm.config.view import ConfigView, nested, type_name

CLASSES = 'len(classes)'
# The number of things of heads that tell them from stuff, such as Mask2Former's.
THINGS, STUFF = 'num_things_classes', 'num_stuff_classes'
STRIDE = 32


class Identifier(str):
    """A name that is written without quotes.

    Args:
        name: The name.

    Raises:
        ValueError: It is not a Python identifier.
    """

    def __new__(cls, name: str) -> 'Identifier':
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f'{name!r} is not a Python identifier.')
        return super().__new__(cls, name)


class Code(str):
    """An expression of this package, written as it is. It never holds data of a user."""


def model_changes(base: Config, task: str, ignore_index: int | None) -> dict[str, Any]:
    """Finds what has to change in a model for other classes.

    Args:
        base: The config.
        task: The task.
        ignore_index: The pixel value that heads of segmentors ignore; None to leave it.

    Returns:
        Nested as in ``model``: values, and :class:`Code` for those that follow from ``classes``.

    Raises:
        CliError: The model has no head with a number of classes, or needs annotations that no
            dataset for this task has.
    """
    _refuse_panoptic(base)
    changes: dict[str, Any] = {}
    for dotted, _ in ConfigView(base).class_counts():
        _, *path, key = dotted.split('.')
        _set_head(changes, path, base, {key: Code(CLASSES)}, ignore_index)
    for name in ('panoptic_head', 'panoptic_fusion_head'):
        if THINGS in (base.model.get(name) or {}):
            counts = {THINGS: Code(CLASSES), STUFF: 0}
            _set_head(changes, [name], base, counts, None)
    if not changes:
        raise CliError(
            f'The config {base.filename} has no head with num_classes, so it cannot be trained for '
            'other classes: choose another one with --config.'
        )
    if base.model.get('pretrained'):
        # Weights of the backbone that the CAS-ViT replaced.
        changes['pretrained'] = None
    if task in ('detection', 'instance') and (preprocessing := _preprocessing(base, task)):
        changes['data_preprocessor'] = preprocessing
    return changes


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merges nested changes; of two values, the second counts."""
    result = dict(first)
    for key, value in second.items():
        own = result.get(key)
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            value = merged(own, value)
        result[key] = value
    return result


def _refuse_panoptic(base: Config) -> None:
    for part in nested(base.model):
        stuff = part.get(STUFF) if THINGS in part else 0
        if stuff or (part.get('semantic_head') and ConfigView(base).scope == 'mmdet'):
            raise CliError(
                f'The config {Path(str(base.filename)).stem} needs semantic masks of whole images '
                'beside objects (panoptic or hybrid segmentation), which fine-tuning does not '
                'read: choose a config for instance or semantic segmentation with --config.'
            )


def _set_head(
    changes: dict[str, Any],
    path: Sequence[str],
    base: Config,
    counts: dict[str, Any],
    ignore_index: int | None,
) -> None:
    """Sets the counts of a head, and its losses that have a weight for each class."""
    if any(name.isdigit() for name in path[:-1]):
        raise CliError(
            f'The config {base.filename} has heads in a list of lists, which fine-tuning does not '
            'change: choose another one with --config.'
        )
    listed = bool(path) and path[-1].isdigit()
    holder, head = changes, base.model
    for name in path[: -1 - listed]:
        holder, head = holder.setdefault(name, {}), head[name]
    name = path[-1 - listed]
    if not listed:
        inner = _of_head(head[name], counts, ignore_index)
        holder[name] = merged(holder.get(name, {}), inner)
    elif not isinstance(holder.get(name), Code):
        place = '.'.join(map(Identifier, path[:-1]))
        inner = _of_head(head[name][0], counts, ignore_index)
        own = ', '.join(f'{key}={_inline(value, key)}' for key, value in inner.items())
        holder[name] = Code(f'[dict(head, {own}) for head in _base_.model.{place}]')


def _of_head(
    head: Mapping[str, Any], counts: dict[str, Any], ignore_index: int | None
) -> dict[str, Any]:
    inner: dict[str, Any] = dict(counts)
    for key, loss in head.items():
        weights = loss.get('class_weight') if isinstance(loss, Mapping) else None
        if isinstance(weights, (list, tuple)) and weights:
            background = len(weights) > 1 and len(set(weights[:-1])) == 1
            equal = background and key == 'loss_cls'
            # The weights in the base config are for the classes of another dataset.
            weight = Code(f'[{weights[0]!r}] * {CLASSES} + [{weights[-1]!r}]') if equal else None
            inner[key] = dict(class_weight=weight)
    if ignore_index is not None:
        inner['ignore_index'] = ignore_index
    return inner


def _inline(value: Any, key: str) -> str:
    if isinstance(value, Mapping):
        own = ', '.join(f'{name}={_inline(inner, name)}' for name, inner in value.items())
        return f"dict(head['{Identifier(key)}'], {own})"
    return value if isinstance(value, Code) else repr(value)


def _preprocessing(base: Config, task: str) -> dict[str, Any]:
    """Batches of images of any size, padded so that every neck can scale its features up."""
    own = base.model.get('data_preprocessor') or base.get('data_preprocessor') or {}
    if 'type' not in own or not type_name(own).startswith('Det'):
        return {}
    changes: dict[str, Any] = {}
    if own.get('batch_augments'):
        # They pad or resize to the images of another dataset.
        changes['batch_augments'] = None
    if own.get('pad_size_divisor', 1) % STRIDE:
        changes['pad_size_divisor'] = STRIDE
    if task == 'instance' and not own.get('pad_mask'):
        # The base config pads all images to one size before they become a batch.
        changes['pad_mask'] = True
    return changes
