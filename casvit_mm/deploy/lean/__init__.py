"""Trained models reduced to tensors in, tensors out: what every export format starts from.

A lean model takes uint8 images and computes what the model's own ``predict`` computes, with the
same modules and weights, in operations that can be traced for images of any size.
"""

from casvit_mm.deploy.lean.build import UnsupportedModelError, lean_model
from casvit_mm.deploy.lean.raw import RawSingleStage, decoding
from casvit_mm.deploy.lean.resizing import Resizing

__all__ = ['RawSingleStage', 'Resizing', 'UnsupportedModelError', 'decoding', 'lean_model']
