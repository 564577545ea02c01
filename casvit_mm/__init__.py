"""CAS-ViT backbones for OpenMMLab: importing this package registers them, and does nothing else."""

from typing import TYPE_CHECKING

from casvit import __version__
from casvit.lazy import lazy_attributes
from casvit_mm.registration import register_classes

if TYPE_CHECKING:
    from casvit_mm import datasets, deploy, engine, models

__all__ = ['__version__', 'datasets', 'deploy', 'engine', 'models']

__getattr__, __dir__ = lazy_attributes(
    __name__, {'datasets': None, 'deploy': None, 'engine': None, 'models': None}
)

register_classes()
