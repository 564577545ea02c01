"""Replaces the backbone of a config by a CAS-ViT."""

from functools import reduce
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.utils import get_installed_path

from casvit.tables import channels
from casvit_mm.benchmark.heads.table import Head
from casvit_mm.config.channels import options_that_fit
from casvit_mm.config.normalisation import IMAGENET
from casvit_mm.config.view import nested

PRETRAINED = ('init_cfg', 'pretrained')


def shipped_file(head: Head) -> Path:
    """The file of a config, as the installed toolbox ships it; it may not exist in this version."""
    return Path(get_installed_path(head.toolbox)) / '.mim' / 'configs' / head.file


def swapped(head: Head, size: str) -> tuple[Config, dict[str, Any]]:
    """Reads a shipped config and replaces its backbone, without any pretrained weights.

    Args:
        head: The config. Its toolbox has to be imported completely.
        size: Size of the CAS-ViT.

    Returns:
        The config, and the changes in its neck and heads by their keys.
    """
    cfg = Config.fromfile(shipped_file(head))
    if 'data_preprocessor' not in cfg.model:
        cfg.model['data_preprocessor'] = cfg.data_preprocessor
    for part in nested(cfg.model):
        for key in PRETRAINED:
            if part.get(key):
                part[key] = None  # type: ignore[index]
    cfg.model.backbone = _backbone(head, cfg.model.backbone, size)
    cfg.model.data_preprocessor.update(IMAGENET, bgr_to_rgb=True)
    cfg.model.data_preprocessor.pop('rgb_to_bgr', None)
    changes: dict[str, Any] = {}
    for key, of in head.reads.items():
        given: Any = channels(size, [of])[0] if isinstance(of, int) else channels(size, of)
        # Some necks take a tuple only.
        changes[key] = tuple(given) if isinstance(_value(cfg, key), tuple) else given
    changes.update(head.sets)
    cfg.merge_from_dict(changes)
    fitting = options_that_fit(cfg)
    fitting.pop('model.backbone.arch', None)
    cfg.merge_from_dict(fitting)
    return cfg, {**fitting, **changes}


def _value(cfg: Config, key: str) -> Any:
    return reduce(lambda part, name: part[name], key.split('.'), cfg)


def _backbone(head: Head, own: ConfigDict, size: str) -> ConfigDict:
    stages = head.stages or tuple(own.get('out_indices', (0, 1, 2, 3)))
    # From random weights, batch norms have to compute their statistics.
    backbone = ConfigDict(type='CASViT', arch=size, out_indices=stages, norm_eval=False)
    strides = tuple(own.get('strides') or ())
    # A dilated backbone keeps the resolution that its head is made for.
    if len(strides) == 4 and strides[0] == 1 and strides != (1, 2, 2, 2):
        backbone.update(strides=strides, dilations=tuple(own.dilations))
    return backbone
