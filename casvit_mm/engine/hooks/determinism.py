"""What ``randomness = dict(deterministic=True)`` needs beside torch's own switch."""

import os

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from casvit_mm.models.wrappers import unwrap

CUBLAS = 'CUBLAS_WORKSPACE_CONFIG'
UNKNOWN_TO_TORCH = 'mmcv.ops'
"""torch raises for its own operators that are not deterministic, not for those of mmcv."""


def prepare_libraries() -> None:
    """Lets cuBLAS be deterministic, without which torch refuses; before the GPU is first used."""
    os.environ.setdefault(CUBLAS, ':4096:8')


class DeterminismHook(Hook):
    """Lets deterministic runs be evaluated, and says if they cannot be deterministic.

    In an evaluation, torch warns of operators that have no deterministic form instead of raising:
    mmseg's IoUMetric counts with one on GPUs. An evaluation changes no weights.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Warns of operators that add up gradients in any order."""
        model = unwrap(runner.model)
        weights = next(model.parameters(), None)
        if weights is not None and weights.is_cuda and (names := unordered(model)):
            runner.logger.warning(
                f'Deterministic training was asked for, but on a GPU, {", ".join(names)} of mmcv '
                'adds up gradients in an order that changes: the weights will differ a little from '
                'run to run.'
            )

    def before_val(self, runner: Runner) -> None:
        """Lets torch warn."""
        torch.use_deterministic_algorithms(True, warn_only=True)

    before_test = before_val

    def after_val(self, runner: Runner) -> None:
        """Lets torch raise again."""
        torch.use_deterministic_algorithms(True)


def unordered(model: nn.Module) -> list[str]:
    """The operators of mmcv in a model, whose gradients on a GPU are no fixed sums.

    Args:
        model: The model.

    Returns:
        The names of their classes.
    """
    kinds = {type(module) for module in model.modules()}
    return sorted(kind.__name__ for kind in kinds if kind.__module__.startswith(UNKNOWN_TO_TORCH))
