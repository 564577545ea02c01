"""A trained model made fast: exact fusion, compilation, lower precision."""

from casvit_mm.deploy.acceleration import Acceleration, AccelerationHook, accelerate
from casvit_mm.deploy.fused_casvit import FusedCASViT, FusedModelError, fuse_branch
from casvit_mm.deploy.fusion import fuse, is_fused

__all__ = [
    'Acceleration',
    'AccelerationHook',
    'FusedCASViT',
    'FusedModelError',
    'accelerate',
    'fuse',
    'fuse_branch',
    'is_fused',
]
