"""Checkpoints: reading, loading into models, translating published keys, publishing."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit.errors import CheckpointError
    from casvit_mm.models.checkpoint.load import LoadReport, load_into
    from casvit_mm.models.checkpoint.read import read_checkpoint, require_checkpoint

__all__ = ['CheckpointError', 'LoadReport', 'load_into', 'read_checkpoint', 'require_checkpoint']

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'CheckpointError': 'casvit.errors',
        'LoadReport': 'casvit_mm.models.checkpoint.load',
        'load_into': 'casvit_mm.models.checkpoint.load',
        'read_checkpoint': 'casvit_mm.models.checkpoint.read',
        'require_checkpoint': 'casvit_mm.models.checkpoint.read',
    },
)
