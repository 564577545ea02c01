"""Small models with random weights, and the checkpoints that a run would have written."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

import casvit_mm  # noqa: F401
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import nested

DEMOS = {
    'instance': 'detection/mask_rcnn_casvit-xs_demo_shapes.py',
    'detection': 'detection/retinanet_casvit-xs_demo_shapes.py',
    'semantic': 'segmentation/semantic_fpn_casvit-xs_demo_shapes.py',
    'classification': 'classification/casvit-xs_demo_shapes.py',
}

# Random weights would give all classes nearly the same score.
LAST_LAYERS = {'fc_cls': 15, 'retina_cls.weight': 3, 'conv_seg': 40, 'head.fc': 40}


def fill_norms(model: nn.Module, spread: float = 0.3) -> None:
    """Gives every norm random statistics, scale and shift, as a training does."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, spread)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, spread)


def build(cfg: Config, seed: int = 0) -> torch.nn.Module:
    """Builds the model of a config such that its outputs for different inputs differ clearly."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    with torch.no_grad():
        for name, value in model.named_parameters():
            for part, factor in LAST_LAYERS.items():
                if part in name:
                    value.mul_(factor)
    return model


def write_checkpoint(
    cfg: Config, path: Path, meta: dict[str, Any] | None = None, seed: int = 0
) -> Path:
    """Writes a checkpoint like that of a run: the weights, and the config as text."""
    meta = {'cfg': escape_braces(cfg.pretty_text)} if meta is None else meta
    torch.save({'state_dict': build(cfg, seed).state_dict(), 'meta': meta}, path)
    return path


def with_one_layer(model):
    """Gives the transformers of a model one layer each; the others are alike."""
    for part in nested(model):
        if 'num_layers' in part:
            part['num_layers'] = 1
