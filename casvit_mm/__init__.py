"""CAS-ViT backbones for OpenMMLab: importing this package registers them, and does nothing else."""

from typing import TYPE_CHECKING

from casvit import __version__
from casvit.extras import how_to_install
from casvit.lazy import lazy_attributes

try:
    from casvit_mm.datasets.shards.backend import register_backend_of_shards
    from casvit_mm.registration import register_classes, register_scheme
except ModuleNotFoundError as error:
    package = (error.name or '').partition('.')[0]
    raise ModuleNotFoundError(
        f'casvit_mm needs {package}, which is not installed: {how_to_install("mmengine")}.',
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from casvit_mm import datasets, deploy, engine, models
    from casvit_mm.model_index import register_models

__all__ = ['__version__', 'datasets', 'deploy', 'engine', 'models', 'register_models']

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'datasets': None,
        'deploy': None,
        'engine': None,
        'models': None,
        'register_models': 'casvit_mm.model_index',
    },
)

register_classes()
register_scheme()
register_backend_of_shards()
