"""Models: CAS-ViT with its sizes and token mixers, other backbones, and checkpoint loading."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit.errors import MissingPackageError
    from casvit.tables import ARCHITECTURES, Architecture
    from casvit_mm.models.casvit import CASViT
    from casvit_mm.models.checkpoint import CheckpointError, load_into, read_checkpoint
    from casvit_mm.models.classifier import CASViTClassifier, CASViTClsHead
    from casvit_mm.models.light_mask_head import LightMaskHead
    from casvit_mm.models.light_segmentor import LightEncoderDecoder
    from casvit_mm.models.losses.focal_loss import SteadyFocalLoss
    from casvit_mm.models.mixers import (
        TOKEN_MIXERS,
        CASMixer,
        EfficientAdditiveMixer,
        IdentityMixer,
        PoolingMixer,
        SelfAttentionMixer,
        SeparableMixer,
    )
    from casvit_mm.models.optional import require_mmpretrain
    from casvit_mm.models.pyramids.hornet_pyramid import HorNetPyramid
    from casvit_mm.models.pyramids.timm_pyramid import TimmPyramid
    from casvit_mm.models.separable_conv import SeparableConv2d
    from casvit_mm.models.sizes import classifier_sizes, dense_peers, dense_sizes

__all__ = [
    'ARCHITECTURES',
    'TOKEN_MIXERS',
    'Architecture',
    'CASMixer',
    'CASViT',
    'CASViTClassifier',
    'CASViTClsHead',
    'CheckpointError',
    'EfficientAdditiveMixer',
    'HorNetPyramid',
    'IdentityMixer',
    'LightEncoderDecoder',
    'LightMaskHead',
    'MissingPackageError',
    'PoolingMixer',
    'SelfAttentionMixer',
    'SeparableConv2d',
    'SeparableMixer',
    'SteadyFocalLoss',
    'TimmPyramid',
    'classifier_sizes',
    'dense_peers',
    'dense_sizes',
    'load_into',
    'read_checkpoint',
    'require_mmpretrain',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'ARCHITECTURES': 'casvit.tables',
        'Architecture': 'casvit.tables',
        'CASMixer': 'casvit_mm.models.mixers',
        'CASViT': 'casvit_mm.models.casvit',
        'CASViTClassifier': 'casvit_mm.models.classifier',
        'CASViTClsHead': 'casvit_mm.models.classifier',
        'CheckpointError': 'casvit_mm.models.checkpoint',
        'EfficientAdditiveMixer': 'casvit_mm.models.mixers',
        'HorNetPyramid': 'casvit_mm.models.pyramids.hornet_pyramid',
        'IdentityMixer': 'casvit_mm.models.mixers',
        'LightEncoderDecoder': 'casvit_mm.models.light_segmentor',
        'LightMaskHead': 'casvit_mm.models.light_mask_head',
        'MissingPackageError': 'casvit.errors',
        'PoolingMixer': 'casvit_mm.models.mixers',
        'SelfAttentionMixer': 'casvit_mm.models.mixers',
        'SeparableConv2d': 'casvit_mm.models.separable_conv',
        'SeparableMixer': 'casvit_mm.models.mixers',
        'SteadyFocalLoss': 'casvit_mm.models.losses.focal_loss',
        'TOKEN_MIXERS': 'casvit_mm.models.mixers',
        'TimmPyramid': 'casvit_mm.models.pyramids.timm_pyramid',
        'classifier_sizes': 'casvit_mm.models.sizes',
        'dense_peers': 'casvit_mm.models.sizes',
        'dense_sizes': 'casvit_mm.models.sizes',
        'load_into': 'casvit_mm.models.checkpoint',
        'read_checkpoint': 'casvit_mm.models.checkpoint',
        'require_mmpretrain': 'casvit_mm.models.optional',
    },
)
