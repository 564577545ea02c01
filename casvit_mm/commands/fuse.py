"""Fuses the model of a checkpoint, compares the answers, and writes it."""

import copy
from argparse import Namespace

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

# Of the largest value of an answer: what rounding leaves of float32.
TOLERANCE = 1e-5


def run(args: Namespace) -> int:
    """Fuses, compares, and writes.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CheckpointError: The weights cannot be read, do not fit, or cannot be written.
        CliError: The model has no CAS-ViT, is fused already, or its answers changed.
    """
    out = writable(args.out)
    cfg = command_config(args)
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    load_toolbox(cfg)
    require_matching_channels(cfg)
    model, content = trained_model(cfg, args.checkpoint)
    if is_fused(model):
        raise CliError(f'{args.checkpoint} is fused already.')
    original = copy.deepcopy(model)
    fuse(model)
    difference = largest_difference(original, model)
    # Written so that a value that is not a number is refused too.
    if not difference <= TOLERANCE:
        raise CliError(
            f'The fused model answers differently, by {difference:.1e} of the largest value '
            f'(allowed: {TOLERANCE:.0e}), so nothing was written. Weights with values that are '
            'very large, or not a number, do that.'
        )
    state = model.state_dict()
    before, after = norms(original), norms(model)
    written = write_weights(state, {**clean_meta(content), 'structure': FUSED}, out)
    print(f'batch norms: {before} before, {after} after')
    print(f'features differ by at most {difference:.1e} of their largest value')
    print(f'{written} ({written.stat().st_size:,} bytes)')
    return 0


def norms(model: nn.Module) -> int:
    """How many batch norms a model has."""
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


@torch.no_grad()
def largest_difference(left: nn.Module, right: nn.Module) -> float:
    """How far apart what two models make of an image is, as a share of its largest value.

    Compared are the logits of a classifier, else the features that the heads read.
    """
    generator = torch.Generator().manual_seed(0)
    channels = left.backbone.in_channels
    image = torch.randn(1, channels, 160, 224, generator=generator)
    pairs = zip(answers(left, image), answers(right, image), strict=True)
    # Not Python's max(), which a value that is not a number can slip past.
    return float(torch.stack([(a - b).abs().max() / a.abs().max() for a, b in pairs]).max())


def answers(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """Logits of a classifier, else the features that the heads read."""
    if hasattr(model, 'head'):
        return [model(image, mode='tensor')]
    return list(model.extract_feat(image))
