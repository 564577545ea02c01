"""What joins a run: the runner, hooks, test-time augmentation, launch helpers."""

from importlib.util import find_spec

from casvit_mm.engine.hooks import ChannelsLastHook, PreviewHook
from casvit_mm.engine.runner import CASViTRunner

__all__ = ['CASViTRunner', 'ChannelsLastHook', 'PreviewHook']

if find_spec('mmdet'):
    from casvit_mm.engine.tta import InstanceTTAModel

    __all__ += ['InstanceTTAModel']
