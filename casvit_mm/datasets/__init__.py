"""What data need before a run: the generated set, reading formats, the data check."""

from importlib.util import find_spec

from casvit_mm.datasets.errors import DatasetError

__all__ = ['DatasetError']

if find_spec('mmdet'):
    from casvit_mm.datasets.shapes_dataset import ShapesDataset

    __all__ += ['ShapesDataset']
