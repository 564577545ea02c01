"""Predictions for an image: typed, in NumPy, with conversion to JSON, COCO and supervision."""

from casvit.drawing.palette import Colour, default_palette
from casvit.results.base import Result, ResultError
from casvit.results.classification import Classification, ClassScore
from casvit.results.detections import Detection, Detections
from casvit.results.masks import LocalMask
from casvit.results.semantic import Area, SemanticMap

__all__ = [
    'Area',
    'ClassScore',
    'Classification',
    'Colour',
    'Detection',
    'Detections',
    'LocalMask',
    'Result',
    'ResultError',
    'SemanticMap',
    'default_palette',
]
