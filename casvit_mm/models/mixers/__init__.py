"""Token mixers: what a CAS-ViT block puts where a vision transformer has self-attention.

A mixer is a module built with ``channels`` and ``norm_cfg`` that maps ``(B, C, H, W)`` to the same
shape; its input has been normalised. Register another one with ``@TOKEN_MIXERS.register_module()``
and name it in the config: ``backbone=dict(type='CASViT', mixer=dict(type='MyMixer'))``.

Its class may say more about it, in attributes:

- ``has_neighbourhood = False``: it looks at one position or at all of them, so dilated stages
  change nothing about it. Other mixers need an argument ``dilation`` for them.
- ``reads_with = 'NAME'``: its input is read by the linear layer or 1x1 convolution of this name
  alone, which takes up the norm before it when the model is fused for inference.
- ``takes_norm = True``: its ``forward`` takes a frozen norm as second argument, and computes the
  mixer of the normalised input. It is not inherited.
"""

from casvit_mm.models.mixers.cas import CASMixer, ChannelGate, SpatialGate, depthwise
from casvit_mm.models.mixers.efficient_additive import EfficientAdditiveMixer
from casvit_mm.models.mixers.plain import IdentityMixer, PoolingMixer
from casvit_mm.models.mixers.registry import TOKEN_MIXERS, build_mixer, mixer_of_stages
from casvit_mm.models.mixers.self_attention import SelfAttentionMixer
from casvit_mm.models.mixers.separable import SeparableMixer

__all__ = [
    'TOKEN_MIXERS',
    'CASMixer',
    'ChannelGate',
    'EfficientAdditiveMixer',
    'IdentityMixer',
    'PoolingMixer',
    'SelfAttentionMixer',
    'SeparableMixer',
    'SpatialGate',
    'build_mixer',
    'depthwise',
    'mixer_of_stages',
]
