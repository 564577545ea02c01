"""Datasets: reading formats, the audit, the check before a run, and generated datasets."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit.errors import DatasetError
    from casvit_mm.datasets.bands import LoadBands, NormalizeBands
    from casvit_mm.datasets.copy_paste import CachedCopyPaste
    from casvit_mm.datasets.pairs_dataset import PairsDataset
    from casvit_mm.datasets.shapes.semantic_shapes_dataset import SemanticShapesDataset
    from casvit_mm.datasets.shapes.shapes_dataset import ShapesDataset
    from casvit_mm.datasets.shapes.single_shapes_dataset import SingleShapesDataset

__all__ = [
    'CachedCopyPaste',
    'DatasetError',
    'LoadBands',
    'NormalizeBands',
    'PairsDataset',
    'SemanticShapesDataset',
    'ShapesDataset',
    'SingleShapesDataset',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'CachedCopyPaste': 'casvit_mm.datasets.copy_paste',
        'DatasetError': 'casvit.errors',
        'LoadBands': 'casvit_mm.datasets.bands',
        'NormalizeBands': 'casvit_mm.datasets.bands',
        'PairsDataset': 'casvit_mm.datasets.pairs_dataset',
        'SemanticShapesDataset': 'casvit_mm.datasets.shapes.semantic_shapes_dataset',
        'ShapesDataset': 'casvit_mm.datasets.shapes.shapes_dataset',
        'SingleShapesDataset': 'casvit_mm.datasets.shapes.single_shapes_dataset',
        # Hooks live in casvit_mm.engine; configs written in Python may import them from here.
        'LabelRangeHook': 'casvit_mm.engine.hooks.label_range',
        'UnreadableFilesHook': 'casvit_mm.engine.hooks.unreadable_files',
    },
)
