"""Prepares a model for faster training once its weights are loaded."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from casvit_mm.models.wrappers import unwrap
from casvit_mm.speed.dense_parts import PRECISIONS
from casvit_mm.speed.matrix_products import gains_from
from casvit_mm.speed.training import TrainingSpeed, train_faster


class TrainingSpeedHook(Hook):
    """Prepares the model of a run for faster training once its weights are loaded.

    Args:
        speed: The options.
    """

    priority = 'VERY_LOW'

    def __init__(self, speed: TrainingSpeed) -> None:
        self.speed = speed

    def before_train(self, runner: Runner) -> None:
        """Changes the model in place."""
        model, tell, precision = unwrap(runner.model), runner.logger.info, self.speed.precision
        device = next(model.parameters()).device
        if precision != 'fp32' and not gains_from(device, PRECISIONS[precision]):
            tell(f'speed.precision: this device is not faster in {precision} than in fp32.')
        train_faster(model, self.speed, tell)
