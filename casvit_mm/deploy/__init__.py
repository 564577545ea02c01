"""A trained model made fast: exact fusion, compilation, lower precision."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit_mm.deploy.acceleration import Acceleration, accelerate
    from casvit_mm.deploy.fused_casvit import FusedCASViT, FusedModelError, fuse_branch
    from casvit_mm.deploy.fusion import fuse, is_fused

__all__ = [
    'Acceleration',
    'FusedCASViT',
    'FusedModelError',
    'accelerate',
    'fuse',
    'fuse_branch',
    'is_fused',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'Acceleration': 'casvit_mm.deploy.acceleration',
        'FusedCASViT': 'casvit_mm.deploy.fused_casvit',
        'FusedModelError': 'casvit_mm.deploy.fused_casvit',
        # Hooks are in casvit_mm.engine; configs written in Python may import it from here.
        'AccelerationHook': 'casvit_mm.engine.hooks.acceleration',
        'accelerate': 'casvit_mm.deploy.acceleration',
        'fuse': 'casvit_mm.deploy.fusion',
        'fuse_branch': 'casvit_mm.deploy.fused_casvit',
        'is_fused': 'casvit_mm.deploy.fusion',
    },
)
