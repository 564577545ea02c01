"""What joins a run: the runner, hooks, test-time augmentation, launch helpers."""

from importlib.util import find_spec

from casvit_mm.engine.invalid_loss import InvalidLossError, StopOnInvalidLossHook
from casvit_mm.engine.layer_decay import CASViTLayerDecayConstructor
from casvit_mm.engine.param_groups import GroupedOptimWrapperConstructor
from casvit_mm.engine.picture_hooks import DrawTestHook, PreviewHook
from casvit_mm.engine.progressive_size import ProgressiveSizeHook
from casvit_mm.engine.runner import CASViTRunner
from casvit_mm.engine.safe_checkpoints import SafeCheckpointHook
from casvit_mm.engine.samplers import MultiScaleBatchSampler, MultiScaleRandomResizedCrop
from casvit_mm.engine.training_speed import BFloat16OptimWrapper

__all__ = [
    'BFloat16OptimWrapper',
    'CASViTLayerDecayConstructor',
    'CASViTRunner',
    'DrawTestHook',
    'GroupedOptimWrapperConstructor',
    'InvalidLossError',
    'MultiScaleBatchSampler',
    'MultiScaleRandomResizedCrop',
    'PreviewHook',
    'ProgressiveSizeHook',
    'SafeCheckpointHook',
    'StopOnInvalidLossHook',
]

if find_spec('mmdet'):
    from casvit_mm.engine.tta import InstanceTTAModel

    __all__ += ['InstanceTTAModel']
