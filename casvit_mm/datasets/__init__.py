"""What data need before a run: the generated set, reading formats, the data check."""

from importlib.util import find_spec

from casvit.errors import DatasetError
from casvit_mm.datasets.label_range_hook import LabelRangeHook
from casvit_mm.datasets.unreadable_hook import UnreadableFilesHook
from casvit_mm.models.optional import MMPRETRAIN_ERROR

__all__ = ['DatasetError', 'LabelRangeHook', 'UnreadableFilesHook']

if find_spec('mmdet'):
    from casvit_mm.datasets.shapes_dataset import ShapesDataset

    __all__ += ['ShapesDataset']

if find_spec('mmseg'):
    from casvit_mm.datasets.pairs_dataset import PairsDataset
    from casvit_mm.datasets.semantic_shapes_dataset import SemanticShapesDataset

    __all__ += ['PairsDataset', 'SemanticShapesDataset']

if not MMPRETRAIN_ERROR:
    from casvit_mm.datasets.single_shapes_dataset import SingleShapesDataset

    __all__ += ['SingleShapesDataset']
