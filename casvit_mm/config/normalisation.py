"""Compares the preprocessing of images in a config with what pretrained weights expect."""

from collections.abc import Mapping
from typing import Any

from casvit.tables import IMAGENET_MEAN, IMAGENET_STD
from casvit_mm.config.view import ConfigView, nested, type_name

IMAGENET = dict(mean=list(IMAGENET_MEAN), std=list(IMAGENET_STD))
"""Mean and standard deviation of the published weights, for red, green and blue from 0 to 255."""

# Toolboxes and papers round the same values differently.
TOLERANCE = 1.5
# All of them reverse the channels.
SWITCHES = ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb')


def normalisation_note(cfg: Mapping[str, Any]) -> str:
    """Says how a config prepares images differently from what the pretrained weights expect.

    Args:
        cfg: The config of a run.

    Returns:
        A sentence with keys, values and the options to add; empty if nothing differs, if the
        backbone is not a CAS-ViT for images with three channels, or if the images are normalised
        elsewhere.
    """
    view = ConfigView(cfg)
    backbone = view.model.get('backbone')
    if not isinstance(backbone, Mapping) or type_name(backbone) != 'CASViT':
        return ''
    key, part = _preprocessor(cfg)
    steps = [step for each in view.datasets('train', 'test') for step in nested(each)]
    elsewhere = any(type_name(step) == 'Normalize' for step in steps)
    if backbone.get('in_channels', 3) != 3 or elsewhere or part is None:
        return ''
    wanted = _differences(part, view.scope, loads_rgb=any(map(_loads_rgb, steps)))
    if not wanted:
        return ''
    says = ', '.join(f'{key}.{name} is {part.get(name)}' for name in wanted)
    options = ' '.join(f'{key}.{name}={_option(value)}' for name, value in wanted.items())
    return (
        "The pretrained weights expect RGB images, normalised with ImageNet's mean and std, but "
        f'{says}. Change them in the config, or for casvit train add --cfg-options {options}'
    )


def _preprocessor(cfg: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
    """The key and the value of the data preprocessor; None if it is of another kind."""
    inside = (cfg.get('model') or {}).get('data_preprocessor')
    outside = cfg.get('data_preprocessor')
    for key, part in (('model.data_preprocessor', inside), ('data_preprocessor', outside)):
        if isinstance(part, Mapping):
            # A wrapper for several branches has its preprocessor inside.
            inner = part.get('data_preprocessor')
            return (
                (f'{key}.data_preprocessor', inner) if isinstance(inner, Mapping) else (key, part)
            )
    return '', None


def _differences(part: Mapping[str, Any], scope: str, *, loads_rgb: bool) -> dict[str, Any]:
    """The values that would make a preprocessor do what the weights expect."""
    wanted: dict[str, Any] = {}
    for name, values in IMAGENET.items():
        if not _is_close(part.get(name), values):
            wanted[name] = values
    reverses = [name for name in SWITCHES if part.get(name)]
    if loads_rgb and reverses:
        wanted.update(dict.fromkeys(reverses, False))
    elif not loads_rgb and not reverses:
        wanted['to_rgb' if scope == 'mmpretrain' else 'bgr_to_rgb'] = True
    return wanted


def _is_close(found: Any, wanted: list[float]) -> bool:
    if not isinstance(found, (list, tuple)) or len(found) != len(wanted):
        return False
    return all(abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True))


def _loads_rgb(step: Mapping[str, Any]) -> bool:
    return type_name(step).startswith('LoadImage') and step.get('channel_order') == 'rgb'


def _option(value: Any) -> str:
    """A value in the syntax of mmengine's options, quoted for a shell."""
    return f'"[{",".join(map(str, value))}]"' if isinstance(value, list) else str(value)
