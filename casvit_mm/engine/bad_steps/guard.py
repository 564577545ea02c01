"""Keeps values that are NaN or infinite out of the weights, the optimiser and the buffers."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from casvit_mm.engine.agreement import in_any_process
from casvit_mm.models.checkpoint.finite import is_finite
from casvit_mm.models.wrappers import unwrap


class StepGuard:
    """Looks at the losses, gradients and weights of a step right before the optimiser uses them.

    It listens to the model and to torch's optimisers themselves, so any optimiser wrapper may be
    between them. An optimiser leaves weights without a gradient as they are, and its own state as
    well: that is how an update is skipped. A loss scaler skips steps itself, and needs infinite
    gradients to find its scale: gradients are then left to it.

    Args:
        model: The model of the run, wrapped or not.
        wrapper: Its optimiser wrapper. Of other kinds than mmengine's, only losses are looked at.

    Attributes:
        found: What was not finite in this process: 'loss', 'gradient', 'weight'.
    """

    def __init__(self, model: nn.Module, wrapper: Any) -> None:
        self._model = unwrap(model)
        wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._scaled = any(isinstance(each, AmpOptimWrapper) for each in wrappers)
        self._optimizers = [each.optimizer for each in wrappers if isinstance(each, OptimWrapper)]
        self._handles: list[RemovableHandle] = [
            self._model.register_forward_hook(self._note_losses),
            *(each.register_step_pre_hook(self._before_update) for each in self._optimizers),
        ]
        self._losses: list[Tensor] = []
        self._kept: dict[str, Tensor] = {}
        self._is_bad = self._has_decided = False
        self.found: list[str] = []

    def remove(self) -> None:
        """Stops listening."""
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def begin(self) -> None:
        """Notes the buffers before a step, such as the statistics of batch norms."""
        self._losses, self.found = [], []
        self._is_bad = self._has_decided = False
        buffers = dict(self._model.named_buffers())
        shapes = {name: (each.shape, each.dtype, each.device) for name, each in buffers.items()}
        kept = {name: (each.shape, each.dtype, each.device) for name, each in self._kept.items()}
        if shapes != kept:
            self._kept = {name: each.clone() for name, each in buffers.items()}
        elif buffers:
            torch._foreach_copy_(list(self._kept.values()), list(buffers.values()))

    @torch.no_grad()
    def end(self, outputs: Mapping[str, Any]) -> bool:
        """Undoes what a bad step left: gradients, also those accumulated before it, and buffers.

        Args:
            outputs: What the step returned: losses and others, by name.

        Returns:
            Whether the step was bad in any process of the run; all of them have to ask.
        """
        self._losses = self._losses or list(losses_in(outputs))
        if not self._has_decided:
            self._decide(self._optimizers)
        if self._is_bad:
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)
            self.restore()
        return self._is_bad

    @torch.no_grad()
    def restore(self) -> None:
        """Gives the buffers the values that they had before the step."""
        for name, buffer in self._model.named_buffers():
            if name in self._kept and self._kept[name].shape == buffer.shape:
                buffer.copy_(self._kept[name])

    def _note_losses(self, model: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Mapping) and model.training:
            self._losses += losses_in(output)

    @torch.no_grad()
    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._scaled:
            return
        self._has_decided = True
        if self._decide([optimizer]):
            optimizer.zero_grad(set_to_none=True)

    def _decide(self, optimizers: list[Optimizer]) -> bool:
        weights = [
            weight
            for optimizer in optimizers
            for group in optimizer.param_groups
            for weight in group['params']
            if weight.grad is not None or self._scaled
        ]
        gradients = [] if self._scaled else [weight.grad for weight in weights]
        parts = dict(loss=self._losses, gradient=gradients, weight=weights)
        if not _all_finite([each for part in parts.values() for each in part]):
            broken = [name for name, part in parts.items() if not all(map(is_finite, part))]
            self.found += [name for name in broken if name not in self.found]
        bad = in_any_process(bool(self.found))
        self._is_bad |= bad
        return bad


def losses_in(outputs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The losses among the outputs of a model or a step, without their graph.

    Args:
        outputs: Tensors, numbers, or lists of tensors, by name. As in mmengine, those with 'loss'
            in their name are losses.
    """
    for name, value in outputs.items():
        if 'loss' not in name:
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, float):
                yield torch.tensor(each)
            elif isinstance(each, Tensor) and each.is_floating_point():
                yield each.detach()


def _all_finite(tensors: list[Tensor]) -> bool:
    """Whether all values are finite. It may be wrong about very large ones, and says no then."""
    dense = [each.coalesce().values() if each.is_sparse else each for each in tensors]
    dense = [each for each in dense if each.numel()]
    if not dense:
        return True
    # All of them at once: one by one, a GPU would wait for each.
    norms = torch._foreach_norm(dense)
    device = norms[-1].device
    return bool(torch.stack([each.to(device, torch.float32) for each in norms]).isfinite().all())
