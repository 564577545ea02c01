"""The registry of token mixers, and how a backbone builds those of its blocks."""

import inspect
from collections.abc import Sequence
from typing import Any

from mmengine.registry import Registry
from torch import nn

TOKEN_MIXERS = Registry('token mixer')
"""Token mixers; their classes take ``channels`` and ``norm_cfg`` beside their own arguments, and
``dilation`` if they can be dilated."""


def mixer_of_stages(mixer: dict | Sequence[dict] | None, stages: int) -> list[dict]:
    """The config of the token mixer of each stage.

    Args:
        mixer: One for all stages, or a list with one for each; None for that of CAS-ViT.
        stages: How many stages there are.

    Raises:
        ValueError: The list has another length, or holds something else.
    """
    if mixer is None:
        mixer = dict(type='CASMixer')
    mixers: list[Any] = list(mixer) if isinstance(mixer, (list, tuple)) else [mixer] * stages
    if len(mixers) != stages or not all(isinstance(each, dict) for each in mixers):
        raise ValueError(
            f'mixer={mixer!r}: expected dict(type=NAME), or a list of {stages} of them, one for '
            f'each stage; registered: {_names()}'
        )
    return mixers


def build_mixer(mixer: dict, channels: int, norm_cfg: dict, dilation: int) -> nn.Module:
    """Builds a token mixer for ``channels`` channels from its config.

    Raises:
        ValueError: The config names no registered mixer, or one that takes no dilation.
    """
    arguments = dict(mixer)
    name = arguments.pop('type', None)
    mixer_class = name if isinstance(name, type) else TOKEN_MIXERS.get(str(name))
    if mixer_class is None:
        raise ValueError(
            f'mixer=dict(type={name!r}) is not a registered token mixer; registered: {_names()}'
        )
    if dilation != 1 and getattr(mixer_class, 'has_neighbourhood', True):
        if 'dilation' not in inspect.signature(mixer_class).parameters:
            raise ValueError(
                f'mixer=dict(type={mixer_class.__name__!r}) takes no argument "dilation", but '
                f'dilations has {dilation} for a stage: give its class that argument, or keep '
                'dilations=(1, 1, 1, 1)'
            )
        arguments['dilation'] = dilation * arguments.get('dilation', 1)
    return mixer_class(channels=channels, norm_cfg=norm_cfg, **arguments)


def _names() -> str:
    return ', '.join(sorted(TOKEN_MIXERS.module_dict))
