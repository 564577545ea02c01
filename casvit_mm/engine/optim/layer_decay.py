"""Learning rates that fall from the head to the first layer, for fine-tuning."""

from typing import Any

from mmengine.logging import print_log
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from casvit.errors import UserError
from casvit_mm.engine.optim.param_groups import GroupedOptimWrapperConstructor
from casvit_mm.models import CASViT
from casvit_mm.models.layers import layer_of
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in

# Layer-wise decay of mmpretrain asks the model for its layers; that of mmdet and mmseg knows the
# names of layers in ConvNeXt, BEiT and MAE.
OF_CLASSIFIERS = frozenset(('LearningRateDecayOptimWrapperConstructor',))
OF_OTHER_BACKBONES = frozenset(
    ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')
)


class LayerDecayError(UserError, ValueError):
    """The layers of a model are unknown to the constructor that scales their learning rates."""


@registered_in(OPTIM_WRAPPER_CONSTRUCTORS)
class CASViTLayerDecayConstructor(GroupedOptimWrapperConstructor):
    """Layer-wise learning-rate decay for models with a CAS-ViT backbone.

    A layer's rate is ``layer_decay_rate ** n`` times the base rate, n the number of layers between
    it and the neck: 0 for neck and heads, 1 for the last block and what follows it, and one more
    for each block towards the stem. (Bao et al., BEiT, 2022, App. H; Clark et al., ELECTRA, 2020.)

    Args:
        optim_wrapper_cfg (dict): Config of the optimiser wrapper.
        paramwise_cfg (dict): ``layer_decay_rate``, above 0 and at most 1, beside the keys of
            mmengine's own constructor, whose multipliers apply as well.

    Raises:
        ValueError: The rate is missing or out of range, or the model has no CAS-ViT.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        rate = (paramwise_cfg or {}).get('layer_decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise ValueError(
                'CASViTLayerDecayConstructor needs paramwise_cfg=dict(layer_decay_rate=R) with R '
                f'above 0 and at most 1, not {rate!r}.'
            )
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def adjust(self, params: list[dict], model: nn.Module) -> None:
        """Gives each parameter the rate of its layer.

        Args:
            params: The groups, each of one parameter, changed in place.
            model: The model.
        """
        distances = layer_distances(unwrap(model))
        rate = self.paramwise_cfg['layer_decay_rate']
        for group in params:
            (param,) = group['params']
            distance = distances.get(id(param), 0)
            group['lr'] = group.get('lr', self.base_lr) * rate**distance
        print_log(
            f'Learning rates fall by {rate} a layer: from {self.base_lr:.3g} in neck and heads to '
            f'{min(group["lr"] for group in params):.3g} in the stem.',
            logger='current',
        )


def layer_distances(model: nn.Module) -> dict[int, int]:
    """How many layers lie between parameters of the backbone and the neck.

    Args:
        model: The model.

    Returns:
        Numbers by ``id`` of the parameter: 1 for the last block.

    Raises:
        LayerDecayError: The model has no CAS-ViT.
    """
    backbone = next((part for part in model.modules() if isinstance(part, CASViT)), None)
    if backbone is None:
        raise LayerDecayError(
            f'CASViTLayerDecayConstructor knows the layers of CASViT, which {type(model).__name__} '
            'does not have: leave optim_wrapper.constructor out.'
        )
    last = sum(backbone.depths)
    return {
        id(param): last + 1 - layer_of(name, backbone.depths)
        for name, param in backbone.named_parameters()
    }


def require_layer_depths(optim_wrapper: Any, model: nn.Module) -> None:
    """Checks that the constructor that a config names knows the layers of the model.

    Args:
        optim_wrapper: The config of the optimiser wrapper.
        model: The model.

    Raises:
        LayerDecayError: It does not.
    """
    constructor = optim_wrapper.get('constructor') if isinstance(optim_wrapper, dict) else None
    name = str(constructor).rsplit('.', 1)[-1]
    if name in OF_CLASSIFIERS:
        known = hasattr(model, 'get_layer_depth')
    elif name in OF_OTHER_BACKBONES:
        known = type(getattr(model, 'backbone', None)).__name__ != 'CASViT'
    else:
        return
    if not known:
        raise LayerDecayError(
            f'{name} does not know the layers of this {type(model).__name__}: use '
            "constructor='CASViTLayerDecayConstructor' with "
            'paramwise_cfg=dict(layer_decay_rate=...).'
        )
