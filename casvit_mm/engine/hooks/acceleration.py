"""Makes the model of a test run faster."""

from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.deploy.acceleration import Acceleration, accelerate
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class AccelerationHook(Hook):
    """Makes the model of a test run faster; its weights have been loaded then.

    Args:
        fuse (bool): See :class:`Acceleration`, like the others. Defaults to False.
        compile (bool): Defaults to False.
        precision (str): Defaults to 'fp32'.
        keep_memory (bool): Defaults to False.
    """

    def __init__(
        self,
        fuse: bool = False,
        compile: bool = False,
        precision: str = 'fp32',
        keep_memory: bool = False,
    ) -> None:
        self.acceleration = Acceleration(fuse, compile, precision, keep_memory)

    def before_test(self, runner: Runner) -> None:
        """Changes the model in place.

        Raises:
            ValueError: The model is to be fused, and an EMAHook would swap its weights.
        """
        if self.acceleration.fuse and any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                'EMAHook swaps the weights of a model that is being tested, and a fused model has '
                'others: leave EMAHook out of custom_hooks here. A checkpoint of a run with it '
                'holds the average anyway.'
            )
        accelerate(runner.model, self.acceleration)
