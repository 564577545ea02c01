"""What data need before a run: the generated set, reading formats, the data check."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit.errors import DatasetError
    from casvit_mm.datasets.label_range_hook import LabelRangeHook
    from casvit_mm.datasets.pairs_dataset import PairsDataset
    from casvit_mm.datasets.semantic_shapes_dataset import SemanticShapesDataset
    from casvit_mm.datasets.shapes_dataset import ShapesDataset
    from casvit_mm.datasets.single_shapes_dataset import SingleShapesDataset
    from casvit_mm.datasets.unreadable_hook import UnreadableFilesHook

__all__ = [
    'DatasetError',
    'LabelRangeHook',
    'PairsDataset',
    'SemanticShapesDataset',
    'ShapesDataset',
    'SingleShapesDataset',
    'UnreadableFilesHook',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'DatasetError': 'casvit.errors',
        'LabelRangeHook': 'casvit_mm.datasets.label_range_hook',
        'PairsDataset': 'casvit_mm.datasets.pairs_dataset',
        'SemanticShapesDataset': 'casvit_mm.datasets.semantic_shapes_dataset',
        'ShapesDataset': 'casvit_mm.datasets.shapes_dataset',
        'SingleShapesDataset': 'casvit_mm.datasets.single_shapes_dataset',
        'UnreadableFilesHook': 'casvit_mm.datasets.unreadable_hook',
    },
)
