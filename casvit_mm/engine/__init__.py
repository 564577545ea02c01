"""Components of a run: runner, hooks, optimiser wrappers, samplers, test-time augmentation."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit_mm.engine.exact.loops import ExactEpochLoop, ExactIterLoop
    from casvit_mm.engine.exact.positions import PositionedBatchSampler
    from casvit_mm.engine.hooks.acceleration import AccelerationHook
    from casvit_mm.engine.hooks.draw_predictions import DrawTestHook
    from casvit_mm.engine.hooks.invalid_loss import InvalidLossError, StopOnInvalidLossHook
    from casvit_mm.engine.hooks.label_range import LabelRangeHook
    from casvit_mm.engine.hooks.normalisation import NormalisationHook
    from casvit_mm.engine.hooks.preview import PreviewHook
    from casvit_mm.engine.hooks.progressive_size import ProgressiveSizeHook
    from casvit_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
    from casvit_mm.engine.hooks.unreadable_files import UnreadableFilesHook
    from casvit_mm.engine.optim.bfloat16 import BFloat16OptimWrapper
    from casvit_mm.engine.optim.layer_decay import CASViTLayerDecayConstructor
    from casvit_mm.engine.optim.param_groups import GroupedOptimWrapperConstructor
    from casvit_mm.engine.runner import CASViTRunner
    from casvit_mm.engine.samplers import MultiScaleBatchSampler, MultiScaleRandomResizedCrop
    from casvit_mm.engine.tta import InstanceTTAModel

__all__ = [
    'AccelerationHook',
    'BFloat16OptimWrapper',
    'CASViTLayerDecayConstructor',
    'CASViTRunner',
    'DrawTestHook',
    'ExactEpochLoop',
    'ExactIterLoop',
    'GroupedOptimWrapperConstructor',
    'InstanceTTAModel',
    'InvalidLossError',
    'LabelRangeHook',
    'MultiScaleBatchSampler',
    'MultiScaleRandomResizedCrop',
    'NormalisationHook',
    'PositionedBatchSampler',
    'PreviewHook',
    'ProgressiveSizeHook',
    'SafeCheckpointHook',
    'StopOnInvalidLossHook',
    'UnreadableFilesHook',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'AccelerationHook': 'casvit_mm.engine.hooks.acceleration',
        'BFloat16OptimWrapper': 'casvit_mm.engine.optim.bfloat16',
        'CASViTLayerDecayConstructor': 'casvit_mm.engine.optim.layer_decay',
        'CASViTRunner': 'casvit_mm.engine.runner',
        'DrawTestHook': 'casvit_mm.engine.hooks.draw_predictions',
        'GroupedOptimWrapperConstructor': 'casvit_mm.engine.optim.param_groups',
        'InstanceTTAModel': 'casvit_mm.engine.tta',
        'InvalidLossError': 'casvit_mm.engine.hooks.invalid_loss',
        'ExactEpochLoop': 'casvit_mm.engine.exact.loops',
        'ExactIterLoop': 'casvit_mm.engine.exact.loops',
        'PositionedBatchSampler': 'casvit_mm.engine.exact.positions',
        'LabelRangeHook': 'casvit_mm.engine.hooks.label_range',
        'MultiScaleBatchSampler': 'casvit_mm.engine.samplers',
        'MultiScaleRandomResizedCrop': 'casvit_mm.engine.samplers',
        'NormalisationHook': 'casvit_mm.engine.hooks.normalisation',
        'PreviewHook': 'casvit_mm.engine.hooks.preview',
        'ProgressiveSizeHook': 'casvit_mm.engine.hooks.progressive_size',
        'SafeCheckpointHook': 'casvit_mm.engine.hooks.safe_checkpoint',
        'StopOnInvalidLossHook': 'casvit_mm.engine.hooks.invalid_loss',
        'UnreadableFilesHook': 'casvit_mm.engine.hooks.unreadable_files',
    },
)
