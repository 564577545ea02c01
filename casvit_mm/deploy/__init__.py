"""A trained model made fast: exact fusion."""

from casvit_mm.deploy.fused_casvit import FusedCASViT, fuse_branch
from casvit_mm.deploy.fusion import fuse, is_fused

__all__ = ['FusedCASViT', 'fuse', 'fuse_branch', 'is_fused']
