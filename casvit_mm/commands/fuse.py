"""Fuses the model of a checkpoint, compares its features, and writes it."""

import copy
from argparse import Namespace
from typing import Any

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn

from casvit.errors import CliError
from casvit_mm.commands.config import command_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.deploy import fuse, is_fused
from casvit_mm.deploy.fusion import FUSED
from casvit_mm.inference.image_model import trained_model
from casvit_mm.models.checkpoint.publish import clean_meta, writable, write_weights

# Share of the largest value: what float32 rounding explains.
TOLERANCE = 1e-5


def run(args: Namespace) -> int:
    """Fuses the model, compares it with the original, and writes it.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CheckpointError: The checkpoint cannot be read, does not fit, or cannot be written.
        CliError: The model has no CAS-ViT, is already fused, or its features changed.
    """
    out = writable(args.out)
    cfg = command_config(args)
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    load_toolbox(cfg)
    require_matching_channels(cfg)
    model, content = trained_model(cfg, args.checkpoint)
    if is_fused(model):
        raise CliError(f'{args.checkpoint} is already fused.')
    original = copy.deepcopy(model)
    fuse(model)
    difference = largest_difference(original, model)
    # Written so that NaN is refused too.
    if not difference <= TOLERANCE:
        raise CliError(
            f'The features of the fused model differ by {difference:.1e} of their largest value '
            f'(allowed: {TOLERANCE:.0e}), so nothing was written. Very large or NaN weights can '
            'cause this.'
        )
    state = model.state_dict()
    before, after = norms(original), norms(model)
    written = write_weights(state, {**clean_meta(content), 'structure': FUSED}, out)
    print(f'batch norms: {before} before, {after} after')
    print(f'features differ by at most {difference:.1e} of their largest value')
    print(f'{written} ({written.stat().st_size:,} bytes)')
    return 0


def norms(model: nn.Module) -> int:
    """Counts the batch norms of a model."""
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


@torch.no_grad()
def largest_difference(left: Any, right: Any) -> float:
    """The largest difference between two models on one image, as a share of the largest value.

    Compares the logits of classifiers, and the features that the heads get of other models.
    """
    generator = torch.Generator().manual_seed(0)
    channels = left.backbone.in_channels
    image = torch.randn(1, channels, 160, 224, generator=generator)
    pairs = zip(outputs(left, image), outputs(right, image), strict=True)
    # Not Python's max(), which can miss a NaN.
    return float(torch.stack([(a - b).abs().max() / a.abs().max() for a, b in pairs]).max())


def outputs(model: Any, image: torch.Tensor) -> list[torch.Tensor]:
    """The logits of a classifier, or the features that the heads of another model get."""
    if hasattr(model, 'head'):
        return [model(image, mode='tensor')]
    return list(model.extract_feat(image))
