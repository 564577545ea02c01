"""What joins a run: the runner, hooks, test-time augmentation, launch helpers."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit_mm.engine.invalid_loss import InvalidLossError, StopOnInvalidLossHook
    from casvit_mm.engine.layer_decay import CASViTLayerDecayConstructor
    from casvit_mm.engine.param_groups import GroupedOptimWrapperConstructor
    from casvit_mm.engine.picture_hooks import DrawTestHook, PreviewHook
    from casvit_mm.engine.progressive_size import ProgressiveSizeHook
    from casvit_mm.engine.runner import CASViTRunner
    from casvit_mm.engine.safe_checkpoints import SafeCheckpointHook
    from casvit_mm.engine.samplers import MultiScaleBatchSampler, MultiScaleRandomResizedCrop
    from casvit_mm.engine.training_speed import BFloat16OptimWrapper
    from casvit_mm.engine.tta import InstanceTTAModel

__all__ = [
    'BFloat16OptimWrapper',
    'CASViTLayerDecayConstructor',
    'CASViTRunner',
    'DrawTestHook',
    'GroupedOptimWrapperConstructor',
    'InstanceTTAModel',
    'InvalidLossError',
    'MultiScaleBatchSampler',
    'MultiScaleRandomResizedCrop',
    'PreviewHook',
    'ProgressiveSizeHook',
    'SafeCheckpointHook',
    'StopOnInvalidLossHook',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'BFloat16OptimWrapper': 'casvit_mm.engine.training_speed',
        'CASViTLayerDecayConstructor': 'casvit_mm.engine.layer_decay',
        'CASViTRunner': 'casvit_mm.engine.runner',
        'DrawTestHook': 'casvit_mm.engine.picture_hooks',
        'GroupedOptimWrapperConstructor': 'casvit_mm.engine.param_groups',
        'InstanceTTAModel': 'casvit_mm.engine.tta',
        'InvalidLossError': 'casvit_mm.engine.invalid_loss',
        'MultiScaleBatchSampler': 'casvit_mm.engine.samplers',
        'MultiScaleRandomResizedCrop': 'casvit_mm.engine.samplers',
        'PreviewHook': 'casvit_mm.engine.picture_hooks',
        'ProgressiveSizeHook': 'casvit_mm.engine.progressive_size',
        'SafeCheckpointHook': 'casvit_mm.engine.safe_checkpoints',
        'StopOnInvalidLossHook': 'casvit_mm.engine.invalid_loss',
    },
)
