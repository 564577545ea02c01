"""CAS-ViT backbones for OpenMMLab: importing this package registers them, and does nothing else."""

from casvit_mm import datasets, deploy, engine, models

__version__ = '0.1.0'
__all__ = ['__version__', 'datasets', 'deploy', 'engine', 'models']
