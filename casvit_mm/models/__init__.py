"""What CAS-ViT is: sizes, token mixers, the backbone, and the reader of its weight files."""

from casvit_mm.models.casvit import CASViT
from casvit_mm.models.checkpoint import CheckpointError, load_into, read_checkpoint
from casvit_mm.models.mixers import TOKEN_MIXERS, CASMixer
from casvit_mm.models.optional import (
    MMPRETRAIN_ERROR,
    MissingPackageError,
    require_mmpretrain,
)
from casvit_mm.models.sizes import (
    ARCHITECTURES,
    Architecture,
    classifier_sizes,
    dense_sizes,
)

__all__ = [
    'ARCHITECTURES',
    'TOKEN_MIXERS',
    'Architecture',
    'CASMixer',
    'CASViT',
    'CheckpointError',
    'MissingPackageError',
    'classifier_sizes',
    'dense_sizes',
    'load_into',
    'read_checkpoint',
    'require_mmpretrain',
]

if not MMPRETRAIN_ERROR:
    from casvit_mm.models.classifier import CASViTClassifier, CASViTClsHead

    __all__ += ['CASViTClassifier', 'CASViTClsHead']
