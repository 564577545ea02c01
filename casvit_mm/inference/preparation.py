"""The steps of a test pipeline, as an exported model carries them out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from casvit.errors import UserError
from casvit.exported.preparation import Step
from casvit_mm.config.view import type_name
from casvit_mm.inference.pipeline import own_loader, steps_in_memory

METHODS = {('cv2', 'bilinear'): 'bilinear', ('pillow', 'bicubic'): 'pillow bicubic'}
"""How images are resized, by the backend and interpolation of a config."""
MEAN_COLOUR = [124, 116, 104]
"""What pads images of a fixed size: ImageNet's mean, which becomes nearly zero."""
DIVISOR = 32
"""The largest stride of the network."""


class PipelineError(UserError, ValueError):
    """A test pipeline has steps that an exported model cannot carry out, or fixes no size."""


def preparation(pipeline: list[Mapping[str, Any]]) -> list[Step]:
    """The steps that prepare an image.

    Args:
        pipeline: The test pipeline of a config.

    Raises:
        PipelineError: It loads other than RGB images, or has a step that cannot be carried out.
    """
    if (own := own_loader(pipeline)) is not None:
        raise PipelineError(
            f'The test pipeline loads images with {type_name(own)}: only models of RGB images can '
            'be exported.'
        )
    return [
        _translated(step)
        for step in steps_in_memory(pipeline)
        if not type_name(step).startswith('Pack')
    ]


def _translated(step: Mapping[str, Any]) -> Step:
    kind = type_name(step)
    if kind == 'Resize' and step.get('scale') is not None:
        width, height = _pair(step['scale'])
        if step.get('keep_ratio', False):
            sides = dict(long=max(width, height), short=min(width, height))
            return dict(step='resize_sides', **sides, method=_method(step))
        return dict(step='resize', to=[height, width], keep_ratio=False, method=_method(step))
    if kind == 'ResizeEdge':
        edge = step.get('edge', 'short')
        return dict(step='resize_edge', to=int(step['scale']), edge=edge, method=_method(step))
    if kind == 'ResizeToMultiple':
        divisor = step.get('size_divisor', DIVISOR)
        if isinstance(divisor, int):
            return dict(step='resize_to_multiple', divisor=divisor)
    if kind == 'CenterCrop' and not step.get('auto_pad'):
        width, height = _pair(step['crop_size'])
        return dict(step='center_crop', to=[height, width])
    if kind == 'Pad' and step.get('size') is not None:
        width, height = _pair(step['size'])
        return dict(step='pad', to=[height, width], value=_colour(step.get('pad_val', 0)))
    raise PipelineError(
        f'The test pipeline has the step {kind}, which an exported model cannot carry out. Known: '
        'Resize with a scale, ResizeEdge, ResizeToMultiple, CenterCrop, Pad with a size.'
    )


def _method(step: Mapping[str, Any]) -> str:
    given = step.get('backend', 'cv2'), step.get('interpolation', 'bilinear')
    if given not in METHODS:
        raise PipelineError(
            f'The test pipeline resizes with {given[0]}, {given[1]}, which an exported model '
            'cannot carry out. Known: cv2 with bilinear, pillow with bicubic.'
        )
    return METHODS[given]


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _colour(value: Any) -> list[int]:
    """The colour of padding in RGB; a config gives BGR."""
    if isinstance(value, Mapping):
        value = value.get('img', 0)
    if isinstance(value, (int, float)):
        return [int(value)] * 3
    return [int(each) for each in reversed(value)]


def fixed_size(steps: Sequence[Step]) -> tuple[int, int] | None:
    """Height and width of the input if the steps make the same size of every image, else None."""
    size = None
    for step in steps:
        if step['step'] in ('center_crop', 'pad') or (
            step['step'] == 'resize' and not step['keep_ratio']
        ):
            size = (step['to'][0], step['to'][1])
        elif step['step'] != 'resize_to_multiple' or size is None:
            size = None
        else:
            size = _multiple(size, step['divisor'])
    return size


def usual_size(steps: Sequence[Step]) -> tuple[int, int] | None:
    """Height and width that suit the steps: fixed ones, or those of a landscape image.

    None if images are not resized at all.
    """
    if (size := fixed_size(steps)) is not None:
        return size
    for step in steps:
        if step['step'] == 'resize_sides':
            long, short = step['long'], step['short']
            # Crops of very long images are not what the model was trained on.
            return _multiple((short, long if long <= 2 * short else short), DIVISOR)
    return None


def with_size(steps: Sequence[Step], size: tuple[int, int]) -> list[Step]:
    """The steps that make a size of every image, in the way of the given ones.

    An image that kept its aspect ratio keeps it, and is padded at the bottom or right.

    Args:
        steps: The steps.
        size: Height and width of the input.
    """
    if fixed_size(steps) == tuple(size):
        return list(steps)
    height, width = size
    names = [step['step'] for step in steps]
    if 'center_crop' in names:
        crop = next(step['to'] for step in steps if step['step'] == 'center_crop')
        grown = max(height / crop[0], width / crop[1])
        return [_grown(step, grown, [height, width]) for step in steps]
    method = next((step['method'] for step in steps if 'method' in step), 'bilinear')
    keep = 'resize' not in names
    resize: Step = dict(step='resize', to=[height, width], keep_ratio=keep, method=method)
    if not keep:
        return [resize]
    value = next((step['value'] for step in steps if step['step'] == 'pad'), MEAN_COLOUR)
    return [resize, dict(step='pad', to=[height, width], value=value)]


def _grown(step: Step, factor: float, crop: list[int]) -> Step:
    if step['step'] == 'center_crop':
        return {**step, 'to': crop}
    if step['step'] == 'resize_edge':
        return {**step, 'to': max(round(step['to'] * factor), 1)}
    return step


def _multiple(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    height, width = (math.ceil(side / divisor) * divisor for side in size)
    return height, width
