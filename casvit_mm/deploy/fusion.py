"""Whole models for inference: the same answers with fewer passes over memory.

The backbone becomes a :class:`casvit_mm.deploy.FusedCASViT`, the convolutions of neck and heads
take up the norms behind them, and the backbone's output norms go into the layers that read the
features, if those are linear at every position.
"""

from typing import Any

from mmcv.cnn import ConvModule
from torch import nn

from casvit.errors import UserError
from casvit_mm.deploy.folding import (
    fold_into_next,
    fold_into_previous,
    is_pointwise,
    with_weights,
)
from casvit_mm.deploy.fused_casvit import FusedCASViT
from casvit_mm.models import CASViT
from casvit_mm.models.checkpoint.structures import STRUCTURES
from casvit_mm.models.conv_norm import is_foldable
from casvit_mm.models.wrappers import unwrap

FUSED = 'fused'
"""What the meta of a file calls the structure of a fused model."""


class UnfusableModelError(UserError, ValueError):
    """A model cannot be fused; the message says why."""


def fuse(model: nn.Module) -> nn.Module:
    """Makes a trained model fast for inference; it answers what it answered before.

    Args:
        model: A :class:`CASViT`, or a detector, segmentor or classifier with one as its
            ``backbone``; wrappers for distributed runs or test-time augmentation are looked into.
            A whole model is changed in place and left in eval mode.

    Returns:
        The model; of a bare backbone a :class:`FusedCASViT`.

    Raises:
        UnfusableModelError: There is no :class:`CASViT` in it, or it is fused already.
    """
    if isinstance(model, CASViT):
        return FusedCASViT(model)
    inner = unwrap(model)
    backbone = getattr(inner, 'backbone', None)
    if not isinstance(backbone, CASViT):
        name, kind = type(inner).__name__, type(backbone).__name__
        if isinstance(backbone, FusedCASViT):
            raise UnfusableModelError(f'The model ({name}) is fused already.')
        raise UnfusableModelError(
            f'The model ({name}) cannot be fused: its backbone is no CASViT, but {kind}.'
        )
    inner.eval()
    inner.backbone = FusedCASViT(backbone)
    for module in inner.modules():
        if isinstance(module, ConvModule):
            _fold_conv_module(module)
    _fold_output_norms(inner)
    _merge_heads(inner)
    return model


@STRUCTURES.register_module(name=FUSED)
def as_fused(model: nn.Module) -> None:
    """Fuses a model in place, if it is not fused yet: it takes the weights of a fused file then."""
    if not is_fused(model):
        fuse(model)


def is_fused(model: nn.Module) -> bool:
    """Whether :func:`fuse` made a model, or its backbone, what it is."""
    return any(isinstance(module, FusedCASViT) for module in model.modules())


def _fold_conv_module(module: ConvModule) -> None:
    """Folds the norm of one of mmcv's convolutions if it comes right behind."""
    order = module.order
    behind = order.index('norm') == order.index('conv') + 1
    if not (module.with_norm and behind and isinstance(module.conv, nn.Conv2d)):
        return
    if not is_foldable(module.norm) or module.with_spectral_norm:
        return
    # A new convolution: some heads share one between levels that have norms of their own.
    module.conv = fold_into_previous(module.conv, module.norm)
    delattr(module, module.norm_name)
    module.with_norm, module.norm_name, module.with_bias = False, None, True


def _fold_output_norms(model: Any) -> None:
    """Folds the backbone's output norms into what reads them, if that is linear."""
    norms = model.backbone.out_norms
    for stage, readers in _linear_readers(model).items():
        norm = norms[str(stage)]
        if is_foldable(norm):
            for holder, name in readers:
                setattr(holder, name, fold_into_next(norm, getattr(holder, name)))
            norms[str(stage)] = nn.Identity()


def _linear_readers(model: Any) -> dict[int, list[tuple[nn.Module, str]]]:
    """Layers that read the features of a stage, each by its holder and its name there.

    Only stages that nothing but 1x1 convolutions or linear layers read are among them.
    """
    neck: Any = getattr(model, 'neck', None)
    head: Any = getattr(model, 'head', None)
    stages = model.backbone.out_indices
    if _is(neck, 'FPN', 'mmdet', 'mmseg'):
        return {
            stages[level + neck.start_level]: [(lateral, 'conv')]
            for level, lateral in enumerate(neck.lateral_convs)
            if _reads_alone(neck, level) and is_pointwise(lateral.conv)
        }
    # The mean over the positions, in between, is linear too.
    if _is(neck, 'GlobalAveragePooling', 'mmpretrain') and _is(head, 'CASViTClsHead', 'casvit_mm'):
        names = ['fc', 'dist_fc'] if head.two_heads else ['fc']
        return {stages[-1]: [(head, name) for name in names]}
    return {}


def _reads_alone(neck: Any, level: int) -> bool:
    """Whether a level of a feature pyramid is all that reads its feature.

    Extra levels may be convolved out of the last feature, with padding.
    """
    is_last = level + neck.start_level == neck.backbone_end_level - 1
    return not (is_last and neck.add_extra_convs == 'on_input')


def _merge_heads(model: nn.Module) -> None:
    """Makes one linear layer of two whose answers are averaged."""
    head: Any = getattr(model, 'head', None)
    if not (_is(head, 'CASViTClsHead', 'casvit_mm') and head.two_heads):
        return
    first, second = head.fc, head.dist_fc
    weight, bias = (first.weight + second.weight) / 2, (first.bias + second.bias) / 2
    head.fc = with_weights(first, weight.detach(), bias.detach())
    del head.dist_fc
    head.two_heads = False


def _is(module: Any, name: str, *packages: str) -> bool:
    """Whether a module is of a class itself: what inherits from it may read otherwise."""
    kind = type(module)
    return kind.__name__ == name and kind.__module__.split('.')[0] in packages
