"""Accelerates the model of a test run."""

from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.deploy.acceleration import Acceleration, accelerate
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class AccelerationHook(Hook):
    """Accelerates the model of a test run once its weights are loaded.

    Args:
        fuse (bool): See :class:`Acceleration` for all arguments. Defaults to False.
        compile (bool | str): Defaults to False.
        precision (str): Defaults to 'fp32'.
        keep_memory (bool): Defaults to False.
    """

    def __init__(
        self,
        fuse: bool = False,
        compile: bool | str = False,
        precision: str = 'fp32',
        keep_memory: bool = False,
    ) -> None:
        self.acceleration = Acceleration(fuse, compile, precision, keep_memory)

    def before_test(self, runner: Runner) -> None:
        """Changes the model in place.

        Raises:
            ValueError: The model is to be fused, but an EMAHook would swap its weights.
        """
        if self.acceleration.fuse and any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                'EMAHook swaps the weights of the model for testing, which a fused model does not '
                'have: leave EMAHook out of custom_hooks here. Checkpoints of a run with EMAHook '
                'hold the average anyway.'
            )
        accelerate(runner.model, self.acceleration)
