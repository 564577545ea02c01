"""Inference with trained models, and evaluation of exported ones."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit_mm.inference.exported_predictor import ExportedPredictor

__all__ = ['ExportedPredictor']

__getattr__, __dir__ = lazy_attributes(
    __name__, {'ExportedPredictor': 'casvit_mm.inference.exported_predictor'}
)
