"""Training in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in
from casvit_mm.speed.dense_parts import PRECISIONS, at_precision, dense_parts


@registered_in(OPTIM_WRAPPERS)
class BFloat16OptimWrapper(OptimWrapper):
    """Trains the dense parts of a model in bfloat16, on a GPU or a CPU.

    Weights, losses and everything between the dense parts stay float32, and gradients need no
    scaling, since bfloat16 has the range of float32. mmengine's AmpOptimWrapper trains in float16,
    and only on a GPU. Validation is not affected.

    Args:
        kwargs: As for mmengine's OptimWrapper.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Runs the dense parts of the model in bfloat16 during a forward pass.

        Args:
            model: The model, or its wrapper for a distributed run.
        """
        parts = dense_parts(unwrap(model))
        forwards = [part.forward for part in parts]
        with super().optim_context(model):
            try:
                for part, forward in zip(parts, forwards, strict=True):
                    part.forward = at_precision(forward, PRECISIONS['bf16'])
                yield
            finally:
                for part, forward in zip(parts, forwards, strict=True):
                    part.forward = forward
