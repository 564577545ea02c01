"""What CAS-ViT is: sizes, token mixers, the backbone, and the reader of its weight files."""

from casvit_mm.models.casvit import CASViT
from casvit_mm.models.checkpoint import CheckpointError, load_into, read_checkpoint
from casvit_mm.models.mixers import TOKEN_MIXERS, CASMixer
from casvit_mm.models.sizes import ARCHITECTURES, Architecture, dense_sizes

__all__ = [
    'ARCHITECTURES',
    'TOKEN_MIXERS',
    'Architecture',
    'CASMixer',
    'CASViT',
    'CheckpointError',
    'dense_sizes',
    'load_into',
    'read_checkpoint',
]
